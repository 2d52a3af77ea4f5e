"use client";

import { useMutation, useQueryClient } from "@tanstack/react-query";
import { KeyRound, Plus } from "lucide-react";
import { type FormEvent, useState } from "react";
import type { Schemas } from "@/api/types";
import type { Key as TextKey } from "@/i18n";
import { call } from "@/lib/api";
import { useFormat } from "@/lib/format";
import { useList } from "@/lib/queries";
import { useTexts } from "@/lib/texts";
import { useToasts } from "@/lib/toast";
import { CopyButton } from "../copy";
import { Failure, Loading } from "../states";
import { Time } from "../time";
import { Button } from "../ui/button";
import { Dialog } from "../ui/dialog";
import { Field, Input, Select } from "../ui/input";

type ApiKey = Schemas["Key"];
const SCOPES = [
  "files:read",
  "files:write",
  "search:read",
  "chat:read",
  "chat:write",
  "workflows:read",
  "workflows:run",
  "jobs:read",
  "approvals:decide",
  "audit:read",
  "keys:read",
  "keys:write",
  "profile:read",
  "sessions:read",
  "settings:read",
] as const;
const DAYS = [30, 90, 365];
const DAY_MS = 86_400_000;

export function Keys() {
  const t = useTexts();
  const client = useQueryClient();
  const list = useList<ApiKey>(["keys"], "/api/v1/keys");
  const [asks, setAsks] = useState(false);
  const [made, setMade] = useState<Schemas["MadeKey"] | null>(null);
  const anew = () => client.invalidateQueries({ queryKey: ["keys"] });
  const make = useMutation({
    mutationFn: (body: object) => call<Schemas["MadeKey"]>("POST", "/api/v1/keys", { body }),
    onSuccess: (key) => {
      setAsks(false);
      setMade(key);
      return anew();
    },
  });
  const revoke = useMutation({
    mutationFn: (id: string) => call("DELETE", `/api/v1/keys/${id}`),
    onSuccess: () => useToasts.getState().show(t("settings.key_revoked")),
    onSettled: anew,
  });
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const days = Number(form.get("days"));
    const expires_at = days ? new Date(Date.now() + days * DAY_MS).toISOString() : null;
    make.mutate({ name: form.get("name"), scopes: form.getAll("scope"), expires_at });
  };
  return (
    <>
      <p className="mb-4 max-w-prose text-muted">{t("settings.keys_text")}</p>
      <Button onClick={() => setAsks(true)} className="mb-4">
        <Plus aria-hidden />
        {t("settings.key_new")}
      </Button>
      {(list.error || revoke.error) && <Failure error={list.error ?? revoke.error} retry={() => void list.refetch()} />}
      {list.isPending && <Loading />}
      {list.data?.length === 0 && <p className="text-muted">{t("settings.keys_none")}</p>}
      {!!list.data?.length && (
        <ul className="divide-y rounded-lg border bg-raised">
          {list.data.map((key) => (
            <Row key={key.id} of={key} revoke={() => revoke.mutate(key.id)} />
          ))}
        </ul>
      )}
      <Dialog open={asks} onOpenChange={setAsks} title={t("settings.key_new")}>
        <form onSubmit={submit} className="space-y-4">
          <Field label={t("settings.key_name")}>
            <Input name="name" required maxLength={100} />
          </Field>
          <fieldset className="max-h-64 overflow-y-auto rounded-md border p-2">
            {SCOPES.map((scope) => (
              <label
                key={scope}
                className="flex cursor-pointer items-center gap-2.5 rounded px-2 py-1.5 hover:bg-hover pointer-coarse:py-2.5"
              >
                <input
                  type="checkbox"
                  name="scope"
                  value={scope}
                  defaultChecked={scope === "files:read"}
                  className="size-4 accent-accent"
                />
                {t(`scope.${scope}` as TextKey)}
              </label>
            ))}
          </fieldset>
          <Field label={t("settings.key_days")}>
            <Select name="days" defaultValue="90">
              {DAYS.map((days) => (
                <option key={days} value={days}>
                  {t("settings.key_days_n", { n: days })}
                </option>
              ))}
              <option value="0">{t("settings.key_never")}</option>
            </Select>
          </Field>
          {make.error && <Failure error={make.error} />}
          <Button type="submit" variant="primary" disabled={make.isPending}>
            {t("settings.key_make")}
          </Button>
        </form>
      </Dialog>
      <Dialog
        open={made !== null}
        onOpenChange={() => setMade(null)}
        title={made?.name ?? ""}
        description={t("settings.key_once")}
      >
        <div className="flex flex-wrap items-center gap-3">
          <code className="min-w-0 grow break-all rounded-md border bg-surface px-3 py-2 text-xs">{made?.key}</code>
          <CopyButton text={made?.key ?? ""} />
        </div>
      </Dialog>
    </>
  );
}

function Row({ of: key, revoke }: { of: ApiKey; revoke: () => void }) {
  const t = useTexts();
  const format = useFormat();
  return (
    <li className="flex items-center gap-3 px-4 py-3">
      <KeyRound aria-hidden className="size-5 shrink-0 stroke-[1.5] text-muted" />
      <div className="min-w-0 grow">
        <p className="truncate font-medium">
          {key.name} <code className="ml-1 font-normal text-muted text-xs">zt_{key.prefix}…</code>
          {key.state !== "active" && (
            <span className="ml-2 rounded bg-hover px-1.5 font-normal text-muted text-xs">
              {t(`settings.key_state_${key.state}`)}
            </span>
          )}
        </p>
        <p className="text-muted text-xs">{key.scopes.map((one) => t(`scope.${one}` as TextKey)).join(" · ")}</p>
        <p className="text-muted text-xs">
          {key.last_used_at ? (
            <>
              {t("settings.key_used", { when: "" })}
              <Time at={key.last_used_at} />
            </>
          ) : (
            t("settings.key_unused")
          )}
          {key.expires_at && ` · ${t("settings.key_until", { when: format.day(key.expires_at) })}`}
        </p>
      </div>
      {key.state === "active" && (
        <Button size="sm" variant="danger" onClick={revoke} aria-label={`${t("settings.key_revoke")}: ${key.name}`}>
          {t("settings.key_revoke")}
        </Button>
      )}
    </li>
  );
}
