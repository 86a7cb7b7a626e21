/** An error as registries and the proxy tell it; what is missing, or no text, is absent. */
export interface ToldError {
  readonly code?: string;
  readonly message?: string;
}

/** The first error of a body `{"errors":[{code, message}]}` (distribution-spec, "Error Codes"); empty for any other. */
export function firstError(text: string): ToldError {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== 'object' || value === null || !('errors' in value)) return {};
    const first: unknown = Array.isArray(value.errors) ? value.errors[0] : undefined;
    if (typeof first !== 'object' || first === null) return {};
    const code = 'code' in first && typeof first.code === 'string' ? first.code : undefined;
    const message = 'message' in first && typeof first.message === 'string' ? first.message : undefined;
    return { ...(code === undefined ? {} : { code }), ...(message === undefined ? {} : { message }) };
  } catch {
    return {};
  }
}
