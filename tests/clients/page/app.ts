// An app made of orders: the same in Node and in a page. What it sees it tells.
import { FetchError } from "@electric-sql/client";
import { forgetToken, shapeCollectionOptions } from "@shape-proxy/client";
import { createCollection } from "@tanstack/db";
import { ofKeys, queries, type Collections } from "./queries.js";

export type Tell = (event: string, fields?: Record<string, unknown>) => void;
type Fields = Record<string, any>;

function describe(error: unknown) {
  const { name, message } = error as Error;
  const { status, json } = error instanceof FetchError ? error : { status: undefined, json: undefined };
  return { name, message, status, code: (json as any)?.code };
}

/** Makes the app. `place` is where its backend and the proxy are. */
export function makeApp(tell: Tell, place: { backend: string; proxy: string }) {
  const collections: Record<string, any> = {};
  const live: Record<string, any> = {};

  async function getToken() {
    const answer = await fetch(`${place.backend}/token`);
    if (!answer.ok) throw new Error(`the backend gives no token: ${answer.status}`);
    return (await answer.json()).token as string;
  }

  const tellingFetch = (collection: string): typeof fetch => async (input, init) => {
    const url = new URL(String(input));
    const query = Object.fromEntries(url.searchParams);
    const token = new Headers(init?.headers).get("authorization")?.slice(-8);
    const method = init?.method ?? "GET";
    tell("request", { collection, method, path: url.pathname, search: url.search, query, body: init?.body, token });
    const answer = await fetch(input, init);
    tell("answer", { collection, status: answer.status, query, retryAfter: answer.headers.get("retry-after") });
    return answer;
  };

  function watch(id: string, kind: string, one: any) {
    const told = (changes: any[]) => {
      for (const { type, key, value, previousValue } of changes) tell("change", { [kind]: id, type, key, value, previousValue });
    };
    one.onFirstReady(() => tell("ready", { [kind]: id }));
    one.subscribeChanges(told, { includeInitialState: true });
    // A 401 in the first sync fails this promise, though the collection gets ready with the next token.
    one.preload().catch((error: unknown) => tell("failed", { [kind]: id, ...describe(error) }));
  }

  const orders: Record<string, (fields: Fields) => unknown> = {
    /** Opens a collection of a shape; `silent` does not subscribe to it, which leaves it to queries. */
    collection({ id, name, mode = "eager", stream, backoff, silent }) {
      const one = createCollection(shapeCollectionOptions<any>({
        proxy: place.proxy,
        name: name ?? id,
        id,
        getToken,
        syncMode: mode,
        getKey: (row) => row.id ?? JSON.stringify(row),
        onStop: (error) => tell("stopped", { collection: id, ...describe(error) }),
        stream: {
          fetchClient: tellingFetch(id),
          backoffOptions: backoff ?? { initialDelay: 50, maxDelay: 250, multiplier: 2 },
          ...stream,
        },
        onInsert: async ({ transaction }: any) => {
          const body = JSON.stringify(transaction.mutations[0].modified);
          const answer = await fetch(`${place.backend}/message`, { method: "POST", body });
          const { txid } = await answer.json();
          tell("written", { txid });
          return { txid };
        },
      }));
      collections[id] = one;
      if (!silent) watch(id, "collection", one);
    },
    /** Opens a live query over collections made before. */
    async query({ name }) {
      live[name] = queries[name](collections as unknown as Collections);
      watch(name, "query", live[name]);
    },
    /** Opens a live query over so many keys. */
    async keys({ count }) {
      live.keys = ofKeys(collections as unknown as Collections, count);
      watch("keys", "query", live.keys);
    },
    async window({ name, offset, limit }) {
      await live[name].utils.setWindow({ offset, limit });
      tell("moved", { name });
    },
    /** An optimistic insert: seen at once, confirmed when its transaction has come through the shape. */
    async insert({ collection, row }) {
      const transaction = collections[collection].insert(row);
      tell("optimistic", { rows: collections[collection].toArray.length });
      await transaction.isPersisted.promise;
      tell("confirmed", { row: collections[collection].get(row.id) });
    },
    rows({ collection, query }) {
      const one = collection ? collections[collection] : live[query];
      tell("rows", { collection, query, rows: one.toArray, status: one.status });
    },
    async close({ collection, query }) {
      const group = collection ? collections : live;
      await group[collection ?? query].cleanup();
      tell("closed", { collection, query });
    },
    async logout() {
      await Promise.all(Object.values({ ...live, ...collections }).map((one) => one.cleanup()));
      forgetToken(getToken);
      tell("logged_out");
    },
    /** A bare request as a script in the page could make it. */
    async get({ url, headers, cache }) {
      const answer = await fetch(url, { headers, cache });
      tell("got", { status: answer.status, text: await answer.text(), headers: Object.fromEntries(answer.headers) });
    },
  };

  return async (order: string, fields: Fields) => {
    try {
      await orders[order](fields);
    } catch (error) {
      tell("failed", { order, ...describe(error) });
    }
  };
}
