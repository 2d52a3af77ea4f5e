import { texts } from "@/i18n/server";

export default async function NotFound() {
  const t = await texts();
  return (
    <main className="mx-auto max-w-md px-5 py-[20vh]">
      <h1 className="font-semibold text-lg">{t("error.missing_title")}</h1>
      <p className="mt-2 mb-6 text-muted">{t("error.missing")}</p>
      <a className="underline underline-offset-4" href="/">
        {t("error.home")}
      </a>
    </main>
  );
}
