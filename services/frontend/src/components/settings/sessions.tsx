"use client";

import { useQueryClient } from "@tanstack/react-query";
import { Laptop, Smartphone, SquareTerminal } from "lucide-react";
import type { Schemas } from "@/api/types";
import { ApiError, call } from "@/lib/api";
import { signOut } from "@/lib/preferences";
import { useList } from "@/lib/queries";
import { useTexts } from "@/lib/texts";
import { useToasts } from "@/lib/toast";
import { Failure, Loading } from "../states";
import { Time } from "../time";
import { Button } from "../ui/button";

type Session = Schemas["SessionShown"];

/** Where one is signed in; each can be ended from here. */
export function Sessions() {
  const t = useTexts();
  const client = useQueryClient();
  const list = useList<Session>(["sessions"], "/api/v1/sessions");
  const end = async (one: Session) => {
    if (one.current) {
      signOut();
      return;
    }
    try {
      await call("DELETE", `/api/v1/sessions/${one.id}`);
      useToasts.getState().show(t("settings.session_ended"));
    } catch (error) {
      useToasts.getState().show(error instanceof ApiError && error.detail ? error.detail : t("error.title"));
    }
    await client.invalidateQueries({ queryKey: ["sessions"] });
  };
  if (list.error) {
    return <Failure error={list.error} retry={() => void list.refetch()} />;
  }
  if (!list.data) {
    return <Loading />;
  }
  return (
    <ul className="divide-y rounded-lg border bg-raised">
      {list.data.map((one) => {
        const Icon =
          one.kind === "client"
            ? SquareTerminal
            : /iPhone|Android|Mobile/.test(one.user_agent ?? "")
              ? Smartphone
              : Laptop;
        return (
          <li key={one.id} className="flex items-center gap-3 px-4 py-3">
            <Icon aria-hidden className="size-5 shrink-0 stroke-[1.5] text-muted" />
            <div className="min-w-0 grow">
              <p className="truncate font-medium">
                {one.name || deviceOf(one.user_agent ?? "")}
                {one.current && (
                  <span className="ml-2 rounded bg-accent-soft px-1.5 font-normal text-accent text-xs">
                    {t("settings.session_here")}
                  </span>
                )}
              </p>
              <p className="text-muted text-xs">
                {one.ip_address && `${t("settings.session_from", { ip: one.ip_address })} · `}
                {t("settings.session_seen", { when: "" })}
                <Time at={one.last_seen_at} />
              </p>
            </div>
            <Button
              size="sm"
              onClick={() => void end(one)}
              aria-label={`${t("settings.session_end")}: ${one.name || deviceOf(one.user_agent ?? "")}`}
            >
              {t("settings.session_end")}
            </Button>
          </li>
        );
      })}
    </ul>
  );
}

/** Browser and system, of what a browser calls itself. */
function deviceOf(agent: string): string {
  const browser = /Edg\//.test(agent)
    ? "Edge"
    : /Firefox\//.test(agent)
      ? "Firefox"
      : /Chrom(e|ium)\//.test(agent)
        ? "Chrome"
        : /Safari\//.test(agent)
          ? "Safari"
          : agent.split(/[ /]/)[0];
  const system = /Windows/.test(agent)
    ? "Windows"
    : /Android/.test(agent)
      ? "Android"
      : /iPhone|iPad/.test(agent)
        ? "iOS"
        : /Mac OS/.test(agent)
          ? "macOS"
          : /Linux/.test(agent)
            ? "Linux"
            : "";
  return [browser, system].filter(Boolean).join(", ") || "?";
}
