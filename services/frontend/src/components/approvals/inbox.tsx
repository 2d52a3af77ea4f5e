"use client";

import { ShieldCheck } from "lucide-react";
import { useList, usePending } from "@/lib/queries";
import { useTexts } from "@/lib/texts";
import { PageHead } from "../page-head";
import { Empty, Failure, Loading } from "../states";
import { Button } from "../ui/button";
import { ApprovalCard, type Asked } from "./card";

/** What waits for a decision, and what was decided. */
export function Inbox() {
  const t = useTexts();
  const pending = usePending();
  const all = useList<Asked>(["approvals"], "/api/v1/approvals");
  const past = all.data?.filter((one) => one.state !== "pending") ?? [];
  return (
    <>
      <PageHead title={t("approvals.title")} />
      <div className="min-h-0 grow overflow-y-auto px-4 py-5 md:px-6">
        <div className="mx-auto max-w-3xl space-y-4">
          {pending.error && <Failure error={pending.error} retry={() => void pending.refetch()} />}
          {pending.isPending && <Loading />}
          {pending.data?.length === 0 && (
            <Empty icon={ShieldCheck} title={t("approvals.empty_title")} text={t("approvals.empty_text")} />
          )}
          {pending.data?.map((one) => (
            <ApprovalCard key={one.id} approval={one} />
          ))}
          {!!past.length && <h2 className="pt-6 font-medium text-muted">{t("approvals.past")}</h2>}
          {past.map((one) => (
            <ApprovalCard key={one.id} approval={one} />
          ))}
          {all.hasNextPage && <Button onClick={() => void all.fetchNextPage()}>{t("do.more")}</Button>}
        </div>
      </div>
    </>
  );
}
