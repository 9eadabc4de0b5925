// Many ShapeStreams of one shape; each keeps what it was told, and says when it has seen the row "the end".
import { ShapeStream } from "@electric-sql/client";
import { config, describe, obey, tell } from "./lines.mjs";

const seen = Array.from({ length: config.streams }, () => []);

seen.forEach((own, number) => {
  const stream = new ShapeStream({
    url: config.url,
    params: config.params,
    headers: { authorization: `Bearer ${config.token}` },
    ...config.options,
    onError: (error) => tell("error", describe(error)),
  });
  stream.subscribe((messages) => {
    for (const { key, value, headers } of messages) {
      if (headers.control) continue;
      own.push([headers.operation, key, value]);
      if (value.body === "the end") tell("finished", { number });
    }
  });
});

obey({
  report() {
    tell("report", { seen });
  },
});
