// SPDX-License-Identifier: Apache-2.0
/** TanStack DB collections and Electric shape streams through shape-proxy. */
export {
  shapeCollectionOptions,
  shapesOf,
  type SchemaCollectionConfig,
  type ShapeCollectionConfig,
} from "./collection.js";
export { datesAsDate, int8AsNumber, int8AsString } from "./parsers.js";
export { shapeStreamOptions, type ShapeSource } from "./stream.js";
export { forgetToken, sharedToken, type GetToken } from "./tokens.js";
