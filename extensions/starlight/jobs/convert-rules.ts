import { isTag } from '../../../schemas/oci/reference.ts';
import { repositoryMatches } from '../../../schemas/oci/repository-pattern.ts';

/** Which images are converted, and where the result goes: to a tag beside theirs, or to a referrer of theirs. */
export type ConvertRule = { readonly match: string } & (
  | { readonly tagSuffix: string }
  | { readonly sameTagAsReferrer: true }
);

/** The rules of the configuration. The first that fits a repository counts. */
export class ConvertRules {
  readonly #rules: readonly ConvertRule[];

  constructor(rules: readonly ConvertRule[]) {
    this.#rules = rules;
  }

  /** undefined for what is not converted: no rule fits, it is no tag, or the tag is that of a result. */
  ruleFor(name: string, reference: string): ConvertRule | undefined {
    if (!isTag(reference)) return undefined;
    const rule = this.#rules.find(({ match }) => repositoryMatches(match, name));
    const isResult = rule !== undefined && 'tagSuffix' in rule && reference.endsWith(rule.tagSuffix);
    return isResult ? undefined : rule;
  }
}
