// What the types promise. Compiled, never run, against each version of TanStack DB that package.json names.
import { Shape, ShapeStream } from "@electric-sql/client";
import type { StandardSchemaV1 } from "@standard-schema/spec";
import { createCollection, createLiveQueryCollection, eq } from "@tanstack/db";
import {
  datesAsDate,
  int8AsNumber,
  shapeCollectionOptions,
  shapesOf,
  shapeStreamOptions,
  type GetToken,
} from "@shape-proxy/client";

declare const getToken: GetToken;
const proxy = "https://shapes.example";

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function is<_Proof extends true>(): void {}

// Generated row types.
type Message = { id: string; thread_id: string | null; role: string; seq: bigint; created_at: string };
type Todo = { id: bigint; label: string; done: boolean };
type Shapes = { chat_messages: Message; todos: Todo };

const shapes = shapesOf<Shapes>({ proxy, getToken });
const messages = createCollection(shapes.collection("chat_messages", { syncMode: "on-demand" }));
const todos = createCollection(shapes.collection("todos", { getKey: (row) => String(row.id) }));
is<Equal<(typeof messages.toArray)[number]["seq"], bigint>>();
is<Equal<(typeof todos.toArray)[number]["done"], boolean>>();
// @ts-expect-error there is no such shape
shapes.collection("secrets");

const questions = createLiveQueryCollection((q) =>
  q.from({ m: messages }).where(({ m }) => eq(m.role, "user")).orderBy(({ m }) => m.created_at),
);
is<Equal<(typeof questions.toArray)[number]["role"], string>>();

// A row type by hand.
const own = createCollection(shapeCollectionOptions<Message>({ proxy, name: "chat_messages", getToken }));
is<Equal<(typeof own.toArray)[number]["thread_id"], string | null>>();
// @ts-expect-error a token source is required
shapeCollectionOptions<Message>({ proxy, name: "chat_messages" });

// A schema (any library of the standard-schema interface).
declare const schema: StandardSchemaV1<{ id: string; created_at: string }, { id: string; created_at: Date }>;
const parsed = createCollection(
  shapeCollectionOptions({
    proxy,
    name: "chat_messages",
    getToken,
    schema,
    parser: datesAsDate,
    getKey: (row) => row.id,
    onStop: (error) => console.error(error.message),
    onInsert: async ({ transaction }) => {
      const added = transaction.mutations[0].modified;
      is<Equal<(typeof added)["created_at"], Date>>();
      return { txid: 1 };
    },
  }),
);
is<Equal<(typeof parsed.toArray)[number]["created_at"], Date>>();

// A stream alone.
const stream = new ShapeStream<Todo>(shapeStreamOptions<Todo>({ proxy, name: "todos", getToken }));
const shape = new Shape(stream);
is<Equal<(typeof shape.currentRows)[number]["label"], string>>();
type Visit = { id: number; at: Date };
new ShapeStream<Visit>(
  shapeStreamOptions<Visit>({
    proxy,
    name: "todos",
    getToken,
    parser: { ...datesAsDate, ...int8AsNumber },
    stream: { liveSse: true, params: { where: "done = $1", params: ["true"] } },
  }),
);
