"use client";

import { Search } from "lucide-react";
import { useSearchParams } from "next/navigation";
import { useEffect, useState } from "react";
import type { Schemas } from "@/api/types";
import { cn } from "@/lib/cn";
import { useFormat } from "@/lib/format";
import { useList } from "@/lib/queries";
import { useTexts } from "@/lib/texts";
import { useUser } from "@/lib/user";
import { Id } from "../copy";
import { PageHead } from "../page-head";
import { Failure, Loading } from "../states";
import { Time } from "../time";
import { Button } from "../ui/button";
import { Dialog } from "../ui/dialog";
import { Input, Select } from "../ui/input";
import { chainOf } from "./chain";

type Entry = Schemas["Entry"];
const SEVERITIES = ["debug", "info", "notice", "warning", "error", "critical"];

/** Who did what; a row opens to everything that is kept of it. */
export function Trail() {
  const t = useTexts();
  const params = useSearchParams();
  const [words, setWords] = useState("");
  const [q, setQ] = useState("");
  const [severity, setSeverity] = useState("");
  const [open, setOpen] = useState<Entry | null>(null);
  const resource = params.get("resource_id");
  const list = useList<Entry>(["audit"], "/api/v1/audit", { q, severity, resource_id: resource });
  useEffect(() => {
    const timer = setTimeout(() => setQ(words), 200);
    return () => clearTimeout(timer);
  }, [words]);
  const filtered = Boolean(q || severity || resource);
  return (
    <>
      <PageHead title={t("audit.title")}>
        <div className="relative grow sm:w-64 sm:grow-0">
          <Search aria-hidden className="absolute top-2.5 left-2.5 size-4 stroke-[1.5] text-muted" />
          <Input
            type="search"
            aria-label={t("audit.search")}
            placeholder={t("audit.search")}
            value={words}
            onChange={(event) => setWords(event.target.value)}
            className="pl-8"
          />
        </div>
        <Select aria-label={t("audit.severity")} value={severity} onChange={(event) => setSeverity(event.target.value)}>
          <option value="">
            {t("audit.severity")}: {t("audit.all")}
          </option>
          {SEVERITIES.map((one) => (
            <option key={one}>{one}</option>
          ))}
        </Select>
      </PageHead>
      <div className="min-h-0 grow overflow-y-auto px-4 py-4 md:px-6">
        <p className="max-w-prose text-muted">{t("audit.intro")}</p>
        {list.data && !filtered && <Chain entries={list.data} />}
        {list.error && <Failure error={list.error} retry={() => void list.refetch()} />}
        {list.isPending && <Loading />}
        {list.data?.length === 0 && <p className="py-12 text-center text-muted">{t("audit.empty")}</p>}
        {!!list.data?.length && (
          <table className="mt-4 w-full table-fixed">
            <thead className="text-left text-muted text-xs">
              <tr className="[&>th]:pb-2 [&>th]:font-normal">
                <th scope="col" className="w-28">
                  {t("audit.when")}
                </th>
                <th scope="col">{t("audit.what")}</th>
                <th scope="col" className="hidden w-40 md:table-cell">
                  {t("audit.who")}
                </th>
                <th scope="col" className="hidden w-36 lg:table-cell">
                  {t("audit.where")}
                </th>
              </tr>
            </thead>
            <tbody>
              {list.data.map((entry) => (
                <tr key={entry.id} className="border-t hover:bg-surface [content-visibility:auto]">
                  <td className="py-2 text-muted">
                    <Time at={entry.timestamp} />
                  </td>
                  <td className="pr-3">
                    <button
                      type="button"
                      onClick={() => setOpen(entry)}
                      className="flex max-w-full items-baseline gap-2 py-1 text-left hover:underline"
                    >
                      <Severity of={entry.severity} />
                      <span className="mono truncate text-xs">{entry.action}</span>
                      {entry.resource_id && (
                        <span className="hidden truncate text-muted text-xs sm:inline">
                          {entry.resource_type} {entry.resource_id.slice(0, 8)}
                        </span>
                      )}
                    </button>
                  </td>
                  <td className="hidden truncate md:table-cell">
                    <Who entry={entry} />
                  </td>
                  <td className="mono hidden truncate text-muted text-xs lg:table-cell">{entry.ip_address}</td>
                </tr>
              ))}
            </tbody>
          </table>
        )}
        {list.hasNextPage && (
          <Button className="mt-4" onClick={() => void list.fetchNextPage()} disabled={list.isFetchingNextPage}>
            {t("do.more")}
          </Button>
        )}
      </div>
      <Dialog
        open={open !== null}
        onOpenChange={() => setOpen(null)}
        title={open?.action ?? ""}
        className="w-[min(94vw,40rem)]"
      >
        {open && <Details entry={open} />}
      </Dialog>
    </>
  );
}

function Who({ entry }: { entry: Entry }) {
  const t = useTexts();
  const user = useUser();
  if (entry.user_id === null) {
    return <span className="text-muted">{t("audit.nobody")}</span>;
  }
  return <>{entry.user_id === user.id ? user.name || user.email : t("audit.user", { id: entry.user_id })}</>;
}

function Severity({ of }: { of: Entry["severity"] }) {
  const bad = of === "error" || of === "critical";
  if (!bad && of !== "warning") {
    return null;
  }
  return (
    <span
      className={cn("shrink-0 rounded px-1.5 text-xs", bad ? "bg-failed-soft text-failed" : "bg-waits-soft text-waits")}
    >
      {of}
    </span>
  );
}

function Chain({ entries }: { entries: Entry[] }) {
  const t = useTexts();
  const format = useFormat();
  const found = chainOf(entries);
  if (found === null) {
    return null;
  }
  const said = { from: format.exact(found.from.timestamp), to: format.exact(found.to.timestamp), n: entries.length };
  return (
    <p
      className={cn(
        "mt-3 inline-block rounded-md px-2.5 py-1 text-xs",
        found.whole ? "bg-accent-soft text-accent" : "bg-failed-soft text-failed",
      )}
    >
      {t(found.whole ? "audit.chain_ok" : "audit.chain_broken", said)}
    </p>
  );
}

function Details({ entry }: { entry: Entry }) {
  const rows = Object.entries(entry).filter(([key, value]) => key !== "details" && value !== null);
  return (
    <dl className="space-y-1.5">
      {rows.map(([key, value]) => (
        <div key={key} className="grid grid-cols-[8rem_1fr] gap-2">
          <dt className="text-muted">{key.replaceAll("_", " ")}</dt>
          <dd className="mono min-w-0 break-all text-xs leading-5">
            {key.endsWith("hash") ? <Id text={String(value)} length={32} className="-ml-1" /> : String(value)}
          </dd>
        </div>
      ))}
      {!!Object.keys(entry.details).length && (
        <pre tabIndex={0} className="mt-3 overflow-x-auto rounded-md border bg-surface p-3 text-xs">
          {JSON.stringify(entry.details, null, 2)}
        </pre>
      )}
    </dl>
  );
}
