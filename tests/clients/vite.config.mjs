import { defineConfig } from "vite";

export default defineConfig({
  root: "page",
  resolve: { dedupe: ["@electric-sql/client", "@tanstack/db", "@tanstack/electric-db-collection"] },
  build: { outDir: "../dist/page", emptyOutDir: true, minify: false, chunkSizeWarningLimit: 5000 },
  logLevel: "warn",
});
