"use client";

import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import dynamic from "next/dynamic";
import { type ReactNode, useState } from "react";
import { ApiError, setCsrf } from "@/lib/api";
import { useEvents } from "@/lib/live";
import { useTexts } from "@/lib/texts";
import { type User, UserProvider } from "@/lib/user";
import { Banner } from "./banner";
import { BottomBar } from "./bottom-bar";
import { Rail } from "./rail";
import { useShortcuts } from "./shortcuts";
import { Toasts } from "./toasts";

const Palette = dynamic(() => import("./palette"), { ssr: false });
const Keys = dynamic(() => import("./keys"), { ssr: false });

/** The frame of every page: where one can go, what waits, and what is wrong. */
export function Shell({
  user,
  csrf,
  narrow,
  children,
}: {
  user: User;
  csrf: string;
  narrow: boolean;
  children: ReactNode;
}) {
  setCsrf(csrf);
  const [client] = useState(
    () =>
      new QueryClient({
        defaultOptions: {
          queries: {
            staleTime: 20_000,
            retry: (count, error) =>
              count < 2 && error instanceof ApiError && (error.status === 0 || error.status >= 502),
          },
        },
      }),
  );
  return (
    <QueryClientProvider client={client}>
      <UserProvider user={user}>
        <Frame narrow={narrow}>{children}</Frame>
      </UserProvider>
    </QueryClientProvider>
  );
}

function Frame({ narrow, children }: { narrow: boolean; children: ReactNode }) {
  const t = useTexts();
  const { palette, setPalette, keys, setKeys } = useShortcuts();
  useEvents();
  return (
    <div className="flex h-dvh flex-col md:flex-row">
      <a
        href="#main"
        className="sr-only z-50 rounded-md bg-raised p-3 focus:not-sr-only focus:absolute focus:top-2 focus:left-2"
      >
        {t("app.skip")}
      </a>
      <Rail narrow={narrow} openPalette={() => setPalette(true)} />
      <div className="flex min-h-0 min-w-0 grow flex-col">
        <Banner />
        <main id="main" tabIndex={-1} className="flex min-h-0 grow flex-col outline-none">
          {children}
        </main>
      </div>
      <BottomBar />
      <Toasts />
      {palette && <Palette close={() => setPalette(false)} openKeys={() => setKeys(true)} />}
      {keys && <Keys close={() => setKeys(false)} />}
    </div>
  );
}
