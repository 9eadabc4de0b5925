// SPDX-License-Identifier: Apache-2.0
import type { Row } from "@electric-sql/client";
import type { StandardSchemaV1 } from "@standard-schema/spec";
import { BasicIndex, type CollectionConfig } from "@tanstack/db";
import {
  electricCollectionOptions,
  type ElectricCollectionConfig,
  type ElectricCollectionUtils,
} from "@tanstack/electric-db-collection";
import { shapeStreamOptions, type ShapeSource } from "./stream.js";
import type { GetToken } from "./tokens.js";

type OutputOf<S extends StandardSchemaV1> =
  StandardSchemaV1.InferOutput<S> extends Row<unknown> ? StandardSchemaV1.InferOutput<S> : Record<string, unknown>;

type Own<T extends Row<unknown>> = ShapeSource<T> & {
  /** What identifies a row; its `id` if left out. */
  getKey?: (row: T) => string | number;
};

/** Options of a collection whose row type is given, such as one that `shape-proxy types` generated. */
export type ShapeCollectionConfig<T extends Row<unknown>> = Own<T> &
  Omit<ElectricCollectionConfig<T>, "shapeOptions" | "getKey" | "schema"> & { schema?: never };

/** Options of a collection whose row type is what its schema gives. */
export type SchemaCollectionConfig<S extends StandardSchemaV1> = Own<OutputOf<S>> &
  Omit<ElectricCollectionConfig<OutputOf<S>, S>, "shapeOptions" | "getKey" | "schema"> & { schema: S };

type Handlers = "onInsert" | "onUpdate" | "onDelete";

/** What `electricCollectionOptions` returns. */
export type ShapeCollectionOptions<T extends Row<unknown>, S extends StandardSchemaV1 = never> = Omit<
  CollectionConfig<T, string | number, S>,
  "utils" | "schema" | Handlers
> &
  Pick<ElectricCollectionConfig<T, S>, Handlers> & { id?: string; utils: ElectricCollectionUtils<T> };

/**
 * Options for `createCollection`: the rows of one shape, live through the proxy.
 *
 * The collection keeps its position over a new token. All collections with one `getToken` share its token.
 */
export function shapeCollectionOptions<S extends StandardSchemaV1>(
  config: SchemaCollectionConfig<S>,
): ShapeCollectionOptions<OutputOf<S>, S> & { schema: S };
export function shapeCollectionOptions<T extends Row<unknown>>(
  config: ShapeCollectionConfig<T>,
): ShapeCollectionOptions<T> & { schema?: never };
export function shapeCollectionOptions(config: ShapeCollectionConfig<any> | SchemaCollectionConfig<any>): any {
  const { proxy, name, getToken, onStop, parser, stream, getKey, ...rest } = config;
  return electricCollectionOptions<any>({
    id: name,
    autoIndex: "eager", // without an index, on-demand pages and joins load everything
    defaultIndexType: BasicIndex,
    ...rest,
    getKey: getKey ?? ((row: Row<unknown>) => row["id"] as string | number),
    shapeOptions: shapeStreamOptions<any>({ proxy, name, getToken, onStop, parser, stream }),
  });
}

/**
 * The same for several shapes of one proxy, whose row types `shape-proxy types` generated.
 *
 *     const shapes = shapesOf<Shapes>({ proxy, getToken });
 *     const messages = createCollection(shapes.collection("chat_messages"));
 */
export function shapesOf<Shapes extends Record<keyof Shapes, Row<unknown>>>(common: {
  proxy: string;
  getToken: GetToken;
  onStop?: (error: Error) => void;
}) {
  return {
    /** Options for `createCollection`, with the rows of this shape. */
    collection<N extends keyof Shapes & string>(
      name: N,
      config: Omit<ShapeCollectionConfig<Shapes[N]>, "proxy" | "name" | "getToken"> = {},
    ) {
      return shapeCollectionOptions<Shapes[N]>({ ...common, ...config, name } as ShapeCollectionConfig<Shapes[N]>);
    },
    /** Options for a `ShapeStream`, with the rows of this shape. */
    stream<N extends keyof Shapes & string>(
      name: N,
      source: Omit<ShapeSource<Shapes[N]>, "proxy" | "name" | "getToken"> = {},
    ) {
      return shapeStreamOptions<Shapes[N]>({ ...common, ...source, name });
    },
  };
}
