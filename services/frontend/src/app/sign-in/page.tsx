import type { Metadata } from "next";
import { redirect } from "next/navigation";
import { buttonStyle } from "@/components/ui/button";
import { Field, Input } from "@/components/ui/input";
import type { Key } from "@/i18n";
import { texts } from "@/i18n/server";
import { cn } from "@/lib/cn";
import { localPath } from "@/server/guard";
import { session } from "@/server/session";
import { Passkey } from "./passkey";

export async function generateMetadata(): Promise<Metadata> {
  return { title: (await texts())("sign_in.title") };
}

const ERRORS = new Set(["wrong", "code", "many", "away"]);

/** Works without script: a form that the server answers with a page. */
export default async function SignIn({ searchParams }: { searchParams: Promise<Record<string, string | undefined>> }) {
  const { next, step, error } = await searchParams;
  const t = await texts();
  const there = localPath(next);
  if (await session()) {
    redirect(there);
  }
  const wrong = error && ERRORS.has(error) ? t(`sign_in.error_${error}` as Key) : null;
  const code = step === "code";
  return (
    <main className="mx-auto flex min-h-dvh max-w-sm flex-col justify-center px-5 py-10">
      <h1 className="font-semibold text-xl tracking-tight">{t("sign_in.title")}</h1>
      <p className="mt-1 mb-7 text-muted">{code ? t("sign_in.code_intro") : t("sign_in.intro")}</p>
      {wrong && (
        <p role="alert" className="mb-5 rounded-md bg-failed-soft px-3 py-2.5 text-failed">
          {wrong}
        </p>
      )}
      <form method="post" action="/bff/sign-in" className="space-y-4">
        <input type="hidden" name="next" value={there} />
        {code ? (
          <Field label={t("sign_in.code")}>
            <Input
              name="otp"
              required
              autoFocus
              inputMode="text"
              autoComplete="one-time-code"
              maxLength={40}
              className="mono text-base tracking-wider"
            />
          </Field>
        ) : (
          <>
            <Field label={t("sign_in.email")}>
              <Input name="email" type="email" required autoFocus autoComplete="username webauthn" maxLength={320} />
            </Field>
            <Field label={t("sign_in.password")}>
              <Input name="password" type="password" required autoComplete="current-password" maxLength={1024} />
            </Field>
          </>
        )}
        <button type="submit" className={cn(buttonStyle({ variant: "primary" }), "h-10 w-full")}>
          {code ? t("sign_in.code_submit") : t("sign_in.submit")}
        </button>
      </form>
      {code ? (
        <a
          className="mt-5 text-center text-muted underline underline-offset-4"
          href={`/sign-in?next=${encodeURIComponent(there)}`}
        >
          {t("sign_in.back")}
        </a>
      ) : (
        <Passkey next={there} />
      )}
    </main>
  );
}
