// Build of the page: hashed assets under dist/assets, one index.html, nothing inline (the daemon's CSP forbids it).
import { readFileSync } from "node:fs";
import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig, type Plugin } from "vite";

const api = process.env.LUCID_URL ?? "http://127.0.0.1:8790";

/** What of other people ends up in the page, and where its licence stands. */
const SHIPPED = [
  ["hls.js", "hls.js/LICENSE"],
  ["Svelte", "svelte/LICENSE.md"],
  ["clsx (part of Svelte)", "clsx/license"],
  ["Atkinson Hyperlegible Next", "@fontsource-variable/atkinson-hyperlegible-next/LICENSE"],
  ["Atkinson Hyperlegible Mono", "@fontsource-variable/atkinson-hyperlegible-mono/LICENSE"],
] as const;

/** Their licences ask to go along with every copy. */
function licences(): Plugin {
  return {
    name: "licences",
    generateBundle() {
      const text = SHIPPED.map(([name, path]) => {
        const licence = readFileSync(new URL(`node_modules/${path}`, import.meta.url), "utf8").trim();
        return `${name}\n${"=".repeat(name.length)}\n\n${licence}\n`;
      });
      this.emitFile({ type: "asset", fileName: "licences.txt", source: text.join("\n\n") });
    },
  };
}

export default defineConfig({
  plugins: [svelte(), licences()],
  // The light build: no DRM, subtitles or alternate audio, which these playlists never have. Types are the full build's.
  resolve: { alias: [{ find: /^hls\.js$/, replacement: "hls.js/light" }] },
  build: {
    target: "es2022",
    // An inlined font or image would be a data: URL, which the policy does not allow for fonts.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 600,
    reportCompressedSize: false,
  },
  server: { proxy: { "/api": { target: api, secure: false }, "/health": { target: api, secure: false } } },
});
