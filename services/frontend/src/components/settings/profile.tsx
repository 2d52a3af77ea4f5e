"use client";

import { useMutation, useQueryClient } from "@tanstack/react-query";
import { LogOut } from "lucide-react";
import type { FormEvent } from "react";
import type { Schemas } from "@/api/types";
import { call } from "@/lib/api";
import { useFormat } from "@/lib/format";
import { signOut } from "@/lib/preferences";
import { useOne } from "@/lib/queries";
import { useTexts } from "@/lib/texts";
import { useToasts } from "@/lib/toast";
import { Failure, Loading } from "../states";
import { Button } from "../ui/button";
import { Field, Input } from "../ui/input";

export function Profile() {
  const t = useTexts();
  const format = useFormat();
  const client = useQueryClient();
  const me = useOne<Schemas["Me"]>(["me"], "/api/v1/users/me");
  const save = useMutation({
    mutationFn: (name: string) => call("PATCH", "/api/v1/users/me", { body: { name } }),
    onSuccess: () => {
      useToasts.getState().show(t("settings.saved"));
      return client.invalidateQueries({ queryKey: ["me"] });
    },
  });
  if (me.error) {
    return <Failure error={me.error} retry={() => void me.refetch()} />;
  }
  if (!me.data) {
    return <Loading />;
  }
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    save.mutate(String(new FormData(event.currentTarget).get("name")));
  };
  return (
    <>
      <form onSubmit={submit} className="space-y-4">
        <Field label={t("settings.name")}>
          <Input name="name" required maxLength={200} defaultValue={me.data.name} autoComplete="name" />
        </Field>
        {save.error && <Failure error={save.error} />}
        <Button type="submit" disabled={save.isPending}>
          {t("do.save")}
        </Button>
      </form>
      <dl className="mt-8 space-y-2 border-t pt-6">
        {[
          [t("sign_in.email"), me.data.email],
          [t("settings.role"), me.data.role],
          [t("settings.since"), format.day(me.data.created_at)],
        ].map(([name, value]) => (
          <div key={name} className="flex justify-between gap-4">
            <dt className="text-muted">{name}</dt>
            <dd className="min-w-0 break-all">{value}</dd>
          </div>
        ))}
      </dl>
      <Button className="mt-8" onClick={signOut}>
        <LogOut aria-hidden />
        {t("sign_out.do")}
      </Button>
    </>
  );
}
