// SPDX-License-Identifier: Apache-2.0
import { FetchError, type GetExtensions, type Row, type ShapeStreamOptions } from "@electric-sql/client";
import { sharedToken, type GetToken } from "./tokens.js";

/** What every use of a shape needs. */
export type ShapeSource<T extends Row<unknown>> = {
  /** Where the proxy is: `https://shapes.example`, or with the path that it is mounted at. */
  proxy: string;
  /** The name of a shape: of a file in the proxy's folder of policies. */
  name: string;
  getToken: GetToken;
  /** Called with an error that ended the stream. The rows stay, and get no news until the stream is started again. */
  onStop?: (error: Error) => void;
  /** How the texts of columns become values, by type: `datesAsDate`, `int8AsNumber`, or your own. */
  parser?: ShapeStreamOptions<GetExtensions<T>>["parser"];
  /** More for the stream: `liveSse`, `params: { where, params, columns, replica }`, `backoffOptions`, … */
  stream?: Partial<Omit<ShapeStreamOptions<GetExtensions<T>>, "url" | "headers" | "onError" | "parser">>;
};

/**
 * Options for a `ShapeStream`.
 *
 * After a 401 the stream goes on where it was, with a new token. An answer that was cut is requested again. 429, 5xx and
 * a lost network are repeated by the library itself, not before `retry-after`. Everything else ends the stream: asking
 * again would not help.
 */
export function shapeStreamOptions<T extends Row<unknown> = Row>(
  source: ShapeSource<T>,
): ShapeStreamOptions<GetExtensions<T>> {
  const { proxy, name, getToken, onStop, parser, stream } = source;
  let used: string | undefined;

  async function onError(error: Error) {
    const status = error instanceof FetchError ? error.status : undefined;
    if (status === 401) {
      const fresh = await sharedToken(getToken, used).catch(() => used);
      if (fresh !== used) return {};
    }
    if (status !== undefined && status < 300) return {};
    onStop?.(error);
    return undefined;
  }

  return {
    ...stream,
    ...(parser && { parser }),
    url: `${proxy.replace(/\/+$/, "")}/v1/shapes/${encodeURIComponent(name)}`,
    headers: { authorization: async () => `Bearer ${(used = await sharedToken(getToken))}` },
    onError,
  } as ShapeStreamOptions<GetExtensions<T>>;
}
