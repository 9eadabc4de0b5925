// SPDX-License-Identifier: Apache-2.0
/** Asks your own backend for a token. It is called once for all shapes, and again when a token was refused. */
export type GetToken = () => Promise<string>;

const held = new WeakMap<GetToken, Promise<string>>();

/**
 * The token that all shapes with this `getToken` share.
 *
 * `refused` is a token that was answered 401: it is replaced once, for all of them. A failure of `getToken` is not
 * remembered; the next call asks again.
 */
export async function sharedToken(getToken: GetToken, refused?: string): Promise<string> {
  const before = held.get(getToken);
  if (before && (refused === undefined || (await before.catch(() => refused)) !== refused)) return before;
  const now = held.get(getToken);
  if (now !== undefined && now !== before) return now; // another shape has asked meanwhile
  const asked = getToken();
  held.set(getToken, asked);
  asked.catch(() => held.get(getToken) === asked && held.delete(getToken));
  return asked;
}

/** Forgets the token. Call it at logout, after `cleanup()` of the collections. */
export function forgetToken(getToken: GetToken): void {
  held.delete(getToken);
}
