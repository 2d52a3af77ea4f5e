"use client";

import { type InfiniteData, useInfiniteQuery, useQuery } from "@tanstack/react-query";
import type { Schemas } from "@/api/types";
import { call, type Query } from "./api";

export type Page<Item> = { items: Item[]; next_cursor?: string | null };

/** A list that comes in pages. */
export function useList<Item>(key: readonly unknown[], path: string, query: Query = {}, enabled = true) {
  return useInfiniteQuery<Page<Item>, Error, Item[], readonly unknown[], string | null>({
    queryKey: [...key, query],
    queryFn: ({ pageParam, signal }) => call("GET", path, { query: { ...query, cursor: pageParam }, signal }),
    initialPageParam: null,
    getNextPageParam: (page) => page.next_cursor ?? null,
    select: flat,
    enabled,
  });
}

/** One thing. */
export function useOne<Item>(key: readonly unknown[], path: string, query: Query = {}, enabled = true) {
  return useQuery<Item>({
    queryKey: [...key, query],
    queryFn: ({ signal }) => call("GET", path, { query, signal }),
    enabled,
  });
}

export const usePending = () => useList<Schemas["Approval"]>(["approvals"], "/api/v1/approvals", { state: "pending" });
export const useConversations = () =>
  useList<Schemas["Conversation"]>(["conversations"], "/api/v1/conversations", { limit: 30 });

// One function for all lists: a selector that is new each time would make new items each time.
const flat = <Item>(data: InfiniteData<Page<Item>, string | null>): Item[] => data.pages.flatMap((page) => page.items);
