// SPDX-License-Identifier: Apache-2.0
/** A column's value: the client library's parsers get text, and never NULL. */
type Parse<T> = (text: string) => T;

function date(text: string): Date {
  // PostgreSQL writes `2026-01-31 12:00:00.5+00`; the zone of a `timestamp` without one is taken to be UTC.
  const iso = text.replace(" ", "T").replace(/([+-]\d\d)$/, "$1:00");
  return new Date(/[+-]\d\d:\d\d$/.test(iso) || !iso.includes("T") ? iso : `${iso}Z`);
}

function safeInteger(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value)) throw new RangeError("an int8 does not fit into a number; leave out int8AsNumber");
  return value;
}

/** `timestamptz`, `timestamp` and `date` columns as `Date`; they are strings otherwise. `infinity` is an invalid Date. */
export const datesAsDate: { timestamptz: Parse<Date>; timestamp: Parse<Date>; date: Parse<Date> } = {
  timestamptz: date,
  timestamp: date,
  date,
};

/** `int8` columns as `number`; they are `bigint` otherwise. Throws a RangeError beyond 2^53. */
export const int8AsNumber: { int8: Parse<number> } = { int8: safeInteger };

/** `int8` columns as `string`, which JSON can carry; they are `bigint` otherwise. */
export const int8AsString: { int8: Parse<string> } = { int8: (text) => text };
