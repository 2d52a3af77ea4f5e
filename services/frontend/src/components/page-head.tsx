import type { ReactNode } from "react";

/** The head of a page: its name, and what one does there. */
export function PageHead({ title, children }: { title: string; children?: ReactNode }) {
  return (
    <header className="flex min-h-14 flex-wrap items-center gap-2 border-b px-4 py-2 md:px-6">
      <h1 className="mr-auto font-semibold text-base">{title}</h1>
      {children}
    </header>
  );
}
