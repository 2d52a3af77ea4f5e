"use client";

import { useMutation, useQueryClient } from "@tanstack/react-query";
import { Trash2 } from "lucide-react";
import { type FormEvent, useState } from "react";
import type { Schemas } from "@/api/types";
import { ApiError, call } from "@/lib/api";
import { useList, useOne } from "@/lib/queries";
import { useTexts } from "@/lib/texts";
import { useToasts } from "@/lib/toast";
import { CopyButton } from "../copy";
import { Failure, Loading } from "../states";
import { Time } from "../time";
import { Button } from "../ui/button";
import { Dialog } from "../ui/dialog";
import { Field, Input } from "../ui/input";

const ME = "/api/v1/users/me";

/** Runs what wants a recent sign-in; asks for the password when that is long ago, and goes on with it. */
function useProof() {
  const t = useTexts();
  const [waiting, setWaiting] = useState<((password: string) => void) | null>(null);
  async function run<R>(method: string, path: string, body: object = {}): Promise<R> {
    try {
      return await call<R>(method, path, { body });
    } catch (error) {
      if (!(error instanceof ApiError) || error.kind !== "reauthentication-required") {
        throw error;
      }
      const current_password = await new Promise<string>((resolve) => setWaiting(() => resolve));
      setWaiting(null);
      return call<R>(method, path, { body: { ...body, current_password } });
    }
  }
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    waiting?.(String(new FormData(event.currentTarget).get("password")));
  };
  const dialog = (
    <Dialog
      open={waiting !== null}
      onOpenChange={() => setWaiting(null)}
      title={t("settings.password_now")}
      description={t("settings.proof")}
    >
      <form onSubmit={submit} className="space-y-4">
        <Input
          name="password"
          type="password"
          required
          autoComplete="current-password"
          aria-label={t("settings.password_now")}
        />
        <Button type="submit" variant="primary">
          {t("do.confirm")}
        </Button>
      </form>
    </Dialog>
  );
  return { run, dialog };
}

/** Password, authenticator app, passkeys. */
export function Security() {
  const t = useTexts();
  const client = useQueryClient();
  const me = useOne<Schemas["Me"]>(["me"], ME);
  const passkeys = useList<Schemas["PasskeyShown"]>(["passkeys"], `${ME}/passkeys`);
  const { run, dialog } = useProof();
  const show = useToasts((toasts) => toasts.show);
  const [secret, setSecret] = useState<Schemas["TotpSecret"] | null>(null);
  const [codes, setCodes] = useState<string[]>([]);
  const [changes, setChanges] = useState(false);
  const anew = () =>
    Promise.all([client.invalidateQueries({ queryKey: ["me"] }), client.invalidateQueries({ queryKey: ["passkeys"] })]);
  const act = useMutation({ mutationFn: (what: () => Promise<unknown>) => what(), onSettled: anew });
  const told = (found: { recovery_codes: string[] }) => setCodes(found.recovery_codes);

  const addPasskey = async () => {
    const question = await run<Schemas["PasskeyQuestion"]>("POST", `${ME}/passkeys/options`);
    const options = (question.options.publicKey ?? question.options) as PublicKeyCredentialCreationOptionsJSON;
    const made = (await navigator.credentials.create({
      publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(options),
    })) as PublicKeyCredential | null;
    told(
      await call("POST", `${ME}/passkeys`, {
        body: { id: question.id, credential: made?.toJSON(), name: navigator.platform },
      }),
    );
  };
  const confirm = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const code = String(new FormData(event.currentTarget).get("code"));
    act.mutate(async () => {
      told(await call("POST", `${ME}/totp/confirm`, { body: { code } }));
      setSecret(null);
    });
  };
  const password = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const given = Object.fromEntries([...new FormData(event.currentTarget)].filter(([, value]) => value));
    act.mutate(async () => {
      await call("POST", `${ME}/password`, { body: given });
      setChanges(false);
      show(t("settings.password_changed"));
    });
  };
  if (me.error) {
    return <Failure error={me.error} retry={() => void me.refetch()} />;
  }
  if (!me.data) {
    return <Loading />;
  }
  const supported = typeof PublicKeyCredential?.parseCreationOptionsFromJSON === "function";
  return (
    <div className="space-y-8">
      {act.error && !(act.error instanceof DOMException) && <Failure error={act.error} />}
      <Part title={t("settings.password")}>
        <Button onClick={() => setChanges(true)}>{t("settings.password_change")}</Button>
      </Part>
      <Part
        title={t("settings.totp")}
        text={me.data.has_totp ? t("settings.totp_on", { n: me.data.recovery_codes_left }) : t("settings.totp_off")}
      >
        {me.data.has_totp ? (
          <>
            <Button onClick={() => act.mutate(async () => told(await run("POST", `${ME}/recovery-codes`)))}>
              {t("settings.codes")}
            </Button>
            <Button variant="danger" onClick={() => act.mutate(() => run("POST", `${ME}/totp/remove`))}>
              {t("settings.totp_remove")}
            </Button>
          </>
        ) : (
          <Button onClick={() => act.mutate(async () => setSecret(await run("POST", `${ME}/totp`)))}>
            {t("settings.totp_add")}
          </Button>
        )}
      </Part>
      <Part title={t("settings.passkeys")} text={passkeys.data?.length === 0 ? t("settings.passkeys_none") : undefined}>
        {!!passkeys.data?.length && (
          <ul className="mb-2 w-full divide-y rounded-lg border bg-raised">
            {passkeys.data.map((one) => (
              <li key={one.id} className="flex items-center gap-3 px-4 py-2">
                <span className="min-w-0 grow truncate">{one.name || one.id.slice(0, 8)}</span>
                <Time at={one.created_at} className="text-muted text-xs" />
                <Button
                  variant="ghost"
                  size="icon-sm"
                  aria-label={`${t("do.remove")}: ${one.name}`}
                  onClick={() => act.mutate(() => run("POST", `${ME}/passkeys/${one.id}/remove`))}
                >
                  <Trash2 aria-hidden />
                </Button>
              </li>
            ))}
          </ul>
        )}
        {supported ? (
          <Button onClick={() => act.mutate(addPasskey)}>{t("settings.passkey_add")}</Button>
        ) : (
          <p className="text-muted">{t("settings.passkey_unsupported")}</p>
        )}
      </Part>
      {dialog}
      <Dialog open={changes} onOpenChange={setChanges} title={t("settings.password_change")}>
        <form onSubmit={password} className="space-y-4">
          <Field label={t("settings.password_now")}>
            <Input
              name="current_password"
              type="password"
              autoComplete="current-password"
              required={me.data.has_password}
            />
          </Field>
          <Field label={t("settings.password_new")}>
            <Input
              name="new_password"
              type="password"
              autoComplete="new-password"
              required
              minLength={8}
              maxLength={1024}
            />
          </Field>
          {act.error && <Failure error={act.error} />}
          <Button type="submit" variant="primary" disabled={act.isPending}>
            {t("do.save")}
          </Button>
        </form>
      </Dialog>
      <Dialog
        open={secret !== null}
        onOpenChange={() => setSecret(null)}
        title={t("settings.totp")}
        description={t("settings.totp_secret")}
      >
        <form onSubmit={confirm} className="space-y-4">
          <div className="flex flex-wrap items-center gap-3">
            <code className="min-w-0 grow break-all rounded-md border bg-surface px-3 py-2">{secret?.secret}</code>
            <CopyButton text={secret?.secret ?? ""} />
          </div>
          <Field label={t("settings.totp_code")}>
            <Input
              name="code"
              required
              inputMode="numeric"
              autoComplete="one-time-code"
              pattern="[0-9 ]{6,10}"
              className="mono"
            />
          </Field>
          {act.error && <Failure error={act.error} />}
          <Button type="submit" variant="primary" disabled={act.isPending}>
            {t("do.confirm")}
          </Button>
        </form>
      </Dialog>
      <Dialog
        open={codes.length > 0}
        onOpenChange={() => setCodes([])}
        title={t("settings.codes")}
        description={t("settings.codes_text")}
      >
        <ul className="mono mb-4 grid grid-cols-2 gap-1.5">
          {codes.map((one) => (
            <li key={one}>{one}</li>
          ))}
        </ul>
        <CopyButton text={codes.join("\n")} />
      </Dialog>
    </div>
  );
}

function Part({ title, text, children }: { title: string; text?: string; children: React.ReactNode }) {
  return (
    <section className="border-t pt-5 first:border-t-0 first:pt-0">
      <h3 className="font-medium">{title}</h3>
      {text && <p className="mt-1 max-w-prose text-muted">{text}</p>}
      <div className="mt-3 flex flex-wrap gap-2">{children}</div>
    </section>
  );
}
