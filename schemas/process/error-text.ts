/** How deep a chain of causes is told. */
const MAX_CAUSES = 8;

/** What went wrong, for people: an error's message and those of its causes, each said once. */
export function errorText(error: unknown): string {
  const said: string[] = [];
  for (let at = error, depth = 0; at !== undefined && depth < MAX_CAUSES; depth++) {
    const text = ownText(at);
    if (!said.some((earlier) => earlier.includes(text))) said.push(text);
    at = at instanceof Error ? at.cause : undefined;
  }
  return said.join(': ');
}

function ownText(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  // Node's, of a host with several addresses, says nothing itself.
  if (error.message === '' && error instanceof AggregateError) return error.errors.map(ownText).join(', ');
  return error.message || error.name;
}
