// Build of the page: hashed assets under dist/assets, one index.html, nothing inline (the daemon's CSP forbids it).
import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vite";

const api = process.env.LUCID_URL ?? "http://127.0.0.1:8790";

export default defineConfig({
  plugins: [svelte()],
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
