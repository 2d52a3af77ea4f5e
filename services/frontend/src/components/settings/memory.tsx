"use client";

import { useQueryClient } from "@tanstack/react-query";
import { X } from "lucide-react";
import { ApiError, call } from "@/lib/api";
import { useList } from "@/lib/queries";
import { useTexts } from "@/lib/texts";
import { Failure, Loading } from "../states";
import { Time } from "../time";
import { Button } from "../ui/button";

type Remembered = { id: string; text?: string; content?: string; created_at?: string };

export function Memory() {
  const t = useTexts();
  const client = useQueryClient();
  const list = useList<Remembered>(["memory"], "/api/v1/memory");
  if (list.error instanceof ApiError && list.error.status === 404) {
    return <p className="text-muted">{t("settings.memory_away")}</p>;
  }
  const forget = async (one: Remembered) => {
    await call("DELETE", `/api/v1/memory/${one.id}`).catch(() => undefined);
    await client.invalidateQueries({ queryKey: ["memory"] });
  };
  return (
    <>
      <p className="mb-4 max-w-prose text-muted">{t("settings.memory_text")}</p>
      {list.error && <Failure error={list.error} retry={() => void list.refetch()} />}
      {list.isPending && <Loading />}
      {list.data?.length === 0 && <p>{t("settings.memory_none")}</p>}
      {!!list.data?.length && (
        <ul className="divide-y rounded-lg border bg-raised">
          {list.data.map((one) => (
            <li key={one.id} className="flex items-center gap-3 px-4 py-2.5">
              <span className="min-w-0 grow">{one.text ?? one.content}</span>
              {one.created_at && <Time at={one.created_at} className="text-muted text-xs" />}
              <Button
                variant="ghost"
                size="icon-sm"
                aria-label={`${t("do.delete")}: ${one.text ?? one.content}`}
                onClick={() => void forget(one)}
              >
                <X aria-hidden />
              </Button>
            </li>
          ))}
        </ul>
      )}
    </>
  );
}
