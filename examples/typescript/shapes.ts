// TanStack DB collections over shape-proxy: copy this file into your app.
import { FetchError, type Row } from "@electric-sql/client";
import { BasicIndex, createCollection } from "@tanstack/db";
import { electricCollectionOptions, type ElectricCollectionConfig } from "@tanstack/electric-db-collection";

/** Asks your own backend for a token. It is called once for all collections, and again when a token was refused. */
export type GetToken = () => Promise<string>;

type Shared = { token?: Promise<string> };
const tokens = new WeakMap<GetToken, Shared>();

/** The token that all collections share. `refused` is one that was answered 401: it is replaced once, for all. */
export async function sharedToken(getToken: GetToken, refused?: string): Promise<string> {
  const shared = tokens.get(getToken) ?? {};
  tokens.set(getToken, shared);
  const before = shared.token;
  if (before && (refused === undefined || (await before.catch(() => refused)) !== refused)) return before;
  if (shared.token === before) {
    const asked = getToken();
    shared.token = asked;
    asked.catch(() => shared.token === asked && delete shared.token); // a failure is not remembered
  }
  return shared.token!;
}

/** Forgets the token: call it at logout, after `cleanup()` of the collections. */
export function forgetToken(getToken: GetToken): void {
  tokens.delete(getToken);
}

export type ShapeOptions<T extends Row> = Omit<ElectricCollectionConfig<T>, "shapeOptions" | "getKey"> & {
  /** Where the proxy is: `https://shapes.example`. */
  proxy: string;
  /** The name of a shape: of a file in the proxy's folder of policies. */
  name: string;
  getToken: GetToken;
  /** What identifies a row; its `id` if left out. */
  getKey?: (row: T) => string | number;
  /** Told of an error that ended the stream: the rows stay, and get no news until `cleanup()` and a new start. */
  onStop?: (error: Error) => void;
  /** More for the stream: `liveSse`, `params: { where, params, columns, replica }`, `parser`, … */
  stream?: Partial<ElectricCollectionConfig<T>["shapeOptions"]>;
};

/** A collection of the rows of one shape. It keeps its handle and offset over a new token. */
export function shapeCollection<T extends Row>(options: ShapeOptions<T>) {
  const { proxy, name, getToken, getKey, onStop, stream, ...rest } = options;
  let used: string | undefined;
  const authorization = async () => `Bearer ${(used = await sharedToken(getToken))}`;

  async function onError(error: Error) {
    const status = error instanceof FetchError ? error.status : undefined;
    if (status === 401) {
      const fresh = await sharedToken(getToken, used).catch(() => used);
      if (fresh !== used) return {}; // go on where it was: the header function gives the new token
    }
    if (status !== undefined && status < 300) return {}; // the body was cut: ask for it again
    onStop?.(error); // 403 and the rest: asking again would not help. (429 and 5xx never come here: they are retried.)
    return undefined;
  }

  return createCollection(
    electricCollectionOptions<T>({
      id: name,
      autoIndex: "eager", // without an index, on-demand pages and joins load everything
      defaultIndexType: BasicIndex,
      ...rest,
      getKey: getKey ?? ((row) => row.id as string | number),
      shapeOptions: { ...stream, url: `${proxy}/v1/shapes/${name}`, headers: { authorization }, onError },
    }),
  );
}
