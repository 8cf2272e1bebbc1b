"""What is made of measured sources: the best at another size and from both sides, and the means of two or three."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import inf

from headstart.base.errors import UsageError
from headstart.heads.layer_choice import MEAN_GAIN
from headstart.ranking.candidates import CandidateSource, Failure
from headstart.ranking.measuring import CandidateResult, Ranking
from headstart.ranking.probe import difference_of, mean_unseen, standard_error
from headstart.sources.registry import open_mean
from headstart.sources.uri import MOST_MEMBERS


def with_variants(
    ranking: Ranking,
    variants: Sequence[CandidateSource],
    measured: Callable[[CandidateSource], list[CandidateResult]],
    out_of_time: Callable[[], bool],
) -> Ranking:
    """Return the ranking with other forms of the best source, each measured by `measured` while there is time."""
    rows, failures, unmeasured = list(ranking.rungs[-1]), list(ranking.failures), list(ranking.unmeasured)
    for variant in variants:
        if any(row.candidate.uri == variant.uri for row in ranking.rows):
            continue
        if out_of_time():
            unmeasured.append(variant)
            continue
        try:
            rows += measured(variant)
        except UsageError as error:
            failures.append(Failure(variant.uri, str(error)))
    return replace(_with_last_rung(ranking, rows), failures=tuple(failures), unmeasured=tuple(unmeasured))


def _with_last_rung(ranking: Ranking, rows: Sequence[CandidateResult]) -> Ranking:
    best_first = sorted(rows, key=lambda row: (row.log_loss, row.candidate.cost, row.layer))
    return replace(ranking, rungs=(*ranking.rungs[:-1], tuple(best_first)))


def with_combinations(ranking: Ranking, *, most_cost: float = inf) -> Ranking:
    """Return the ranking with the means of two and three sources among those measured on the most examples.

    Greedy selection (Caruana et al. 2004, Ensemble selection from libraries of models): the best source comes first,
    then the one that lowers the log loss of unseen examples most. To average sources that nothing tells apart is the
    safer choice (on four sets of photos with 5, 20 and 48 labels of a class it gains 1.8 points over the cheapest of
    three, to choose one of them 0.6): such a mean is a candidate where it gains at all, and like any other
    recommended where the cheaper ones are not within one standard error. A source that is told from the best, as one
    without knowledge is, must gain more than MEAN_GAIN standard errors of the paired difference. The members together
    cost at most `most_cost`, as it is stated.
    """
    best_of: dict[int, CandidateResult] = {}
    for row in ranking.rungs[-1]:
        if row.candidate.has_uri:
            best_of.setdefault(id(row.candidate.source), row)
    if not best_of or ranking.best not in best_of.values():
        return ranking
    chosen, means, others = ranking.best, list[CandidateResult](), list(best_of.values())
    while len(chosen.members) < MOST_MEMBERS:
        members = chosen.members or (chosen,)
        uris = {member.candidate.uri for member in members}
        better = []
        spare = most_cost - sum(member.candidate.cost for member in members)
        for row in (row for row in others if row.candidate.uri not in uris and row.candidate.cost <= spare):
            mean = mean_of((*members, row))
            gain = difference_of(mean.unseen, chosen.unseen, mean.learned.row_of, mean.learned.clusters).log_loss
            least = 0.0 if ranking.difference(row).tied else MEAN_GAIN * standard_error(gain)
            if -gain.value > least:
                better.append(mean)
        if not better:
            break
        best = min(better, key=lambda row: row.log_loss)
        chosen = replace(best, candidate=_opened(best))
        means.append(chosen)
    return _with_last_rung(ranking, (*ranking.rungs[-1], *means))


def mean_of(members: Sequence[CandidateResult]) -> CandidateResult:
    """Return the mean of the calibrated scores of several candidates on the same examples; it is not yet opened."""
    first = members[0]
    return CandidateResult(
        first.candidate,
        ",".join(f"{number}/{member.layer}" for number, member in enumerate(members, 1)),
        mean_unseen([member.unseen for member in members], first.learned.counts),
        first.learned,
        sum(member.features for member in members),
        sum(member.ms_per_example for member in members),
        tuple(members),
    )


def _opened(row: CandidateResult) -> CandidateSource:
    opened = [member.candidate.source.opened or {} for member in row.members]
    return CandidateSource(open_mean([each["uri"] for each in opened], opened[0]), (row.layer,))
