// Svelte compiler settings: runes only, and styles as files (the page is served without 'unsafe-inline').
export default { compilerOptions: { runes: true, css: "external" } };
