"use client";

import { useMutation, useQueryClient } from "@tanstack/react-query";
import Link from "next/link";
import { call } from "@/lib/api";
import { useTexts } from "@/lib/texts";
import { Id } from "../copy";
import { Failure } from "../states";
import { Time } from "../time";
import { Button } from "../ui/button";

export type Effect = { what: string; where?: string | null; before?: unknown; after?: unknown };

/** What an approval needs to be shown; the gateway's has more. */
export type Asked = {
  id: string;
  state: string;
  tool: string;
  title?: string | null;
  arguments?: Record<string, unknown>;
  effects?: Effect[] | null;
  actor?: string;
  digest: string;
  expires_at: string;
  decided_at?: string | null;
  used_at?: string | null;
  result?: Record<string, unknown> | null;
};

/** One thing that waits for a decision, or a receipt of it. */
export function ApprovalCard({ approval: first }: { approval: Asked }) {
  const t = useTexts();
  const client = useQueryClient();
  const decide = useMutation({
    mutationFn: (verb: "approve" | "deny") => call<Asked>("POST", `/api/v1/approvals/${first.id}/${verb}`),
    onSettled: () => client.invalidateQueries({ queryKey: ["approvals"] }),
  });
  const approval = { ...first, ...decide.data };
  const title = approval.title || sentence(approval.tool);
  const effects: Effect[] = approval.effects?.length
    ? approval.effects
    : [{ what: sentence(approval.tool), after: approval.arguments }];
  const over = approval.state === "pending" && Date.parse(approval.expires_at) < Date.now();
  const state = over ? "expired" : approval.state;
  const decided = {
    approved: approval.decided_at,
    denied: approval.decided_at,
    used: approval.used_at,
    expired: approval.expires_at,
  }[state];
  return (
    <article aria-label={title} className="animate-rise overflow-hidden rounded-lg border bg-raised">
      <div className="flex flex-wrap items-baseline gap-x-3 gap-y-1 px-4 pt-3.5">
        <h3 className="min-w-0 grow break-words font-semibold text-base">{title}</h3>
        <span className="text-muted text-xs">
          {t("approvals.digest")} <Id text={approval.digest} />
        </span>
      </div>
      <div className="overflow-x-auto px-4 py-3">
        <table className="w-full text-left">
          <caption className="sr-only">{t("approvals.effects")}</caption>
          <thead className="text-muted text-xs">
            <tr className="[&>th]:pr-4 [&>th]:pb-1 [&>th]:font-normal">
              <th scope="col">{t("approvals.what")}</th>
              <th scope="col">{t("approvals.where")}</th>
              <th scope="col">{t("approvals.before")}</th>
              <th scope="col">{t("approvals.after")}</th>
            </tr>
          </thead>
          <tbody>
            {effects.map((effect, index) => (
              <tr
                key={index}
                className="border-t align-top [&>td]:max-w-64 [&>td]:break-words [&>td]:py-1.5 [&>td]:pr-4"
              >
                <td>{effect.what}</td>
                <td className="text-muted">{effect.where ?? "–"}</td>
                <td className="text-muted">
                  <Value of={effect.before} />
                </td>
                <td>
                  <Value of={effect.after} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {!!approval.result && !!Object.keys(approval.result).length && (
        <div className="border-t px-4 py-3">
          <Value of={approval.result} />
        </div>
      )}
      {decide.error && (
        <div className="px-4">
          <Failure error={decide.error} />
        </div>
      )}
      <footer className="flex flex-wrap items-center gap-2 border-t bg-surface px-4 py-2.5">
        {state === "pending" ? (
          <>
            <p className="mr-auto text-muted text-xs">
              {approval.actor && (
                <span className="mr-3">{t("approvals.who", { who: approval.actor.split(":")[0] ?? "" })}</span>
              )}
              {t("approvals.expires", { when: "" })}
              <Time at={approval.expires_at} />
            </p>
            <Button size="sm" disabled={decide.isPending} onClick={() => decide.mutate("deny")}>
              {t("approvals.deny")}
            </Button>
            <Button size="sm" variant="primary" disabled={decide.isPending} onClick={() => decide.mutate("approve")}>
              {t("approvals.approve")}
            </Button>
          </>
        ) : (
          <p className="text-muted text-xs">
            {(state === "approved" || state === "denied" || state === "used" || state === "expired") &&
              t(`approvals.done_${state}`, { when: "" })}
            {decided && <Time at={decided} />}
            <Link href={`/audit?resource_id=${approval.id}`} className="ml-3 underline underline-offset-4">
              {t("approvals.audit")}
            </Link>
          </p>
        )}
      </footer>
    </article>
  );
}

function Value({ of }: { of: unknown }) {
  if (of === undefined || of === null || of === "") {
    return "–";
  }
  if (typeof of === "object") {
    return (
      <dl>
        {Object.entries(of).map(([key, value]) => (
          <div key={key} className="flex gap-2">
            <dt className="text-muted">{key.replaceAll("_", " ")}</dt>
            <dd className="min-w-0 break-all">{typeof value === "object" ? JSON.stringify(value) : String(value)}</dd>
          </div>
        ))}
      </dl>
    );
  }
  return String(of);
}

/** `files_delete` as words: verb first. */
function sentence(tool: string): string {
  const [object, ...verb] = tool.split("_");
  const words = [...verb, object].filter(Boolean).join(" ");
  return words.slice(0, 1).toUpperCase() + words.slice(1);
}
