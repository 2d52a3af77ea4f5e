import type { components } from "./gateway";

/** Everything that the gateway sends, as its OpenAPI document says. */
export type Schemas = components["schemas"];
