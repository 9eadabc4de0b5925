// The app of page/app.ts in Node.
import { makeApp } from "../page/app.js";
import { config, obeyAll, tell } from "./lines.mjs";

const order = makeApp(tell, config);
obeyAll(order);
tell("loaded");
