"use client";

import { useState } from "react";
import type { Schemas } from "@/api/types";
import { ApiError } from "@/lib/api";
import { cn } from "@/lib/cn";
import { useOne } from "@/lib/queries";
import { useTexts } from "@/lib/texts";
import { PageHead } from "../page-head";
import { Failure, Loading } from "../states";

type State = "well" | "degraded" | "down" | "unknown" | "absent";
type Picture = Schemas["System"];
type Flow = Schemas["Flow"];
type Health = { status: string; version?: string; dependencies?: Record<string, { status: string; error?: string | null }> };

const LIVE_MS = 10_000;
const STATES: Record<string, State> = {
  ok: "well",
  healthy: "well",
  well: "well",
  up: "well",
  degraded: "degraded",
  down: "down",
  failed: "down",
  away: "down",
  absent: "absent",
  missing: "absent",
};

/** Containers by zone, how they are, and what each may talk to. */
export function System() {
  const t = useTexts();
  const [picked, setPicked] = useState<string | null>(null);
  const picture = useOne<Picture>(["system"], "/api/v1/system");
  const health = useOne<Health>(["health"], "/api/v1/health");
  const missing = picture.error instanceof ApiError && picture.error.status === 404;
  return (
    <>
      <PageHead title={t("system.title")} />
      <div className="min-h-0 grow space-y-8 overflow-y-auto px-4 py-5 md:px-6" data-refresh={LIVE_MS}>
        {picture.isPending && <Loading />}
        {picture.error && !missing && <Failure error={picture.error} retry={() => void picture.refetch()} />}
        {missing && (
          <div className="max-w-prose">
            <p className="text-base">{t("system.missing")}</p>
            <p className="text-muted">{t("system.missing_text")}</p>
          </div>
        )}
        {picture.data && <Zones of={picture.data} picked={picked} pick={setPicked} />}
        {health.data?.dependencies && <Checks of={health.data} />}
      </div>
    </>
  );
}

function stateOf(text: string | undefined): State {
  return STATES[text ?? ""] ?? "unknown";
}

function Zones({ of, picked, pick }: { of: Picture; picked: string | null; pick: (name: string | null) => void }) {
  const t = useTexts();
  const there = of.zones.flatMap((zone) => zone.containers).filter((one) => stateOf(one.health) !== "unknown");
  const bad = there.filter((one) => stateOf(one.health) !== "well");
  const from = of.flows.filter((flow) => flow.from === picked);
  const to = of.flows.filter((flow) => flow.to === picked);
  const lit = new Set([...from.map((flow) => flow.to), ...to.map((flow) => flow.from)]);
  if (!of.zones.length) {
    return <p className="max-w-prose text-base">{t("system.missing")}</p>;
  }
  return (
    <>
      <p className="text-lg tracking-tight">
        {bad.length ? t("system.some", { bad: bad.length, n: there.length }) : t("system.well", { n: there.length })}
      </p>
      <div className="grid gap-5 lg:grid-cols-2 2xl:grid-cols-3">
        {of.zones.map((zone) => (
          <section key={zone.name} aria-label={zone.name} className="rounded-lg border p-4">
            <h2 className="mb-3 text-muted text-xs">{zone.name}</h2>
            <ul className="grid grid-cols-2 gap-2 sm:grid-cols-3">
              {zone.containers.map((one) => (
                <li key={one.name}>
                  <button
                    type="button"
                    aria-pressed={picked === one.name}
                    title={one.purpose}
                    onClick={() => pick(picked === one.name ? null : one.name)}
                    className={cn(
                      "flex w-full flex-col rounded-md border bg-raised px-3 py-2 text-left hover:bg-hover",
                      picked === one.name && "border-accent bg-accent-soft",
                      picked && picked !== one.name && lit.has(one.name) && "border-accent",
                    )}
                  >
                    <span className="flex w-full items-center gap-2 font-medium">
                      <Dot state={stateOf(one.health)} />
                      <span className="truncate">{one.name}</span>
                    </span>
                    <span className="mono text-muted text-xs">{one.vmid}</span>
                  </button>
                </li>
              ))}
            </ul>
          </section>
        ))}
      </div>
      <div aria-live="polite" className="grid gap-6 md:grid-cols-2">
        {picked === null ? (
          <p className="text-muted">{t("system.select")}</p>
        ) : (
          <>
            <Flows
              title={t("system.flows")}
              none={t("system.flows_none")}
              rows={from.map((flow) => ({ ...flow, other: flow.to }))}
            />
            <Flows title={t("system.reached")} none="–" rows={to.map((flow) => ({ ...flow, other: flow.from }))} />
          </>
        )}
      </div>
    </>
  );
}

function Flows({ title, none, rows }: { title: string; none: string; rows: (Flow & { other: string })[] }) {
  return (
    <section>
      <h2 className="mb-2 font-medium">{title}</h2>
      {!rows.length && <p className="text-muted">{none}</p>}
      <ul className="divide-y">
        {rows.map((flow) => (
          <li key={`${flow.other} ${flow.port}`} className="flex flex-wrap items-baseline gap-x-3 py-1.5">
            <span className="w-28 truncate font-medium">{flow.other}</span>
            <span className="mono w-24 text-xs">{flow.port}</span>
            <span className="min-w-0 grow text-muted">{flow.purpose}</span>
          </li>
        ))}
      </ul>
    </section>
  );
}

function Checks({ of }: { of: Health }) {
  const t = useTexts();
  return (
    <section className="max-w-xl">
      <h2 className="mb-2 font-medium">{t("system.checks")}</h2>
      <ul className="divide-y rounded-lg border bg-raised">
        {Object.entries(of.dependencies ?? {}).map(([name, check]) => (
          <li key={name} className="flex items-center gap-3 px-4 py-2">
            <Dot state={stateOf(check.status)} />
            <span className="grow">{name}</span>
            {check.error && <span className="truncate text-muted text-xs">{check.error}</span>}
          </li>
        ))}
      </ul>
      {of.version && (
        <p className="mt-2 text-muted text-xs">
          {t("system.versions")} <span className="mono">{of.version}</span>
        </p>
      )}
    </section>
  );
}

function Dot({ state }: { state: State }) {
  const t = useTexts();
  const colour = {
    well: "bg-accent",
    degraded: "bg-waits",
    down: "bg-failed",
    unknown: "border border-edge",
    absent: "border border-edge border-dashed",
  }[state];
  return (
    <span className={cn("size-2 shrink-0 rounded-full", colour)}>
      <span className="sr-only">{t(`system.state_${state}`)}</span>
    </span>
  );
}
