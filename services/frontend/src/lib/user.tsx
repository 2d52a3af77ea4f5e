"use client";

import { createContext, type ReactNode, useContext } from "react";

export type User = { id: number; email: string; name: string; role: "owner" | "member" };

const Someone = createContext<User | null>(null);

export function UserProvider({ user, children }: { user: User; children: ReactNode }) {
  return <Someone value={user}>{children}</Someone>;
}

/** Who is signed in. */
export function useUser(): User {
  const found = useContext(Someone);
  if (found === null) {
    throw new Error("nobody is signed in here");
  }
  return found;
}
