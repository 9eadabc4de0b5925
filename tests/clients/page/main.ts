import { makeApp } from "./app.js";

declare global {
  interface Window {
    told(event: string, fields: string): void;
    order: ReturnType<typeof makeApp>;
  }
}

const place = new URLSearchParams(location.search);
const tell = (event: string, fields = {}) =>
  window.told(event, JSON.stringify(fields, (_, v) => (typeof v === "bigint" ? Number(v) : v)));
window.order = makeApp(tell, { backend: location.origin, proxy: place.get("proxy")! });
tell("loaded");
