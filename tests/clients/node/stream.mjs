// One ShapeStream of @electric-sql/client, told message by message.
//
// config.token       a fixed token; without it every request asks the test for one (an async header function)
// config.on_error    "stop" (or nothing): surface the error; "refresh": ask for a token and return new headers
// config.shape       true: a Shape over the stream, its rows told after each change
import { Shape, ShapeStream } from "@electric-sql/client";
import { config, describe, giveToken, obey, tell, tellingFetch, wantToken } from "./lines.mjs";

async function bearer() {
  return `Bearer ${config.token ?? (await wantToken())}`;
}

const stream = new ShapeStream({
  url: config.url,
  params: config.params,
  headers: { authorization: config.token && config.on_error === "refresh" ? `Bearer ${config.token}` : bearer },
  fetchClient: tellingFetch,
  backoffOptions: { initialDelay: 20, maxDelay: 100, multiplier: 2 },
  ...config.options,
  onError: async (error) => {
    tell("error", describe(error));
    if (config.on_error !== "refresh") return undefined;
    return { headers: { authorization: `Bearer ${await wantToken()}` } };
  },
});

if (config.shape) {
  new Shape(stream).subscribe(({ rows }) => tell("rows", { rows }));
} else {
  const stopped = (error) => tell("stopped", describe(error));
  stream.subscribe((messages) => {
    for (const { key, value, old_value, headers } of messages) {
      if (headers.control) tell("control", { control: headers.control });
      else tell("change", { operation: headers.operation, key, value, old_value, handle: stream.shapeHandle });
    }
  }, stopped);
}

obey({
  token: giveToken,
  async snapshot({ subset }) {
    const { data } = await stream.requestSnapshot(subset);
    tell("snapshot", { rows: data.map((one) => one.value) });
  },
  async fetch_snapshot({ subset }) {
    const { data } = await stream.fetchSnapshot(subset);
    tell("snapshot", { rows: data.map((one) => one.value) });
  },
  state() {
    tell("state", { handle: stream.shapeHandle, offset: stream.lastOffset, error: stream.error && describe(stream.error) });
  },
});
