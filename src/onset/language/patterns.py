"""Sentences of the statistics as patterns: ``{names}`` stand where the numbers and names are.

A sentence of ``stats``, ``tables`` or ``results`` that is shown to readers has its pattern here, whole or clause by
clause, so that the catalogues have it.
"""

from __future__ import annotations

from onset.language import noted

VERDICTS = (
    noted("The score exceeds chance at the highest losses seen already; no threshold is seen."),
    noted(
        "The score exceeds chance; smooth curves explain it better than curves with a threshold (log Bayes factor "
        "{factor})."
    ),
    noted(
        "The score exceeds chance at losses below {loss} [{low}, {high}], and half of its rise comes within {width} "
        "{unit} of there; smooth curves explain it better than curves with a threshold (log Bayes factor {factor})."
    ),
    noted(
        "The score exceeds chance, but whether it has a threshold is not decided (log Bayes factor {factor}; {needed} "
        "would show one, {smooth} a smooth curve); more items, or checkpoints around the onset, would tell."
    ),
    noted(
        "The score exceeds chance at losses below {loss} [{low}, {high}], but whether it has a threshold is not decided "
        "(log Bayes factor {factor}; {needed} would show one, {smooth} a smooth curve); more items, or checkpoints "
        "around the onset, would tell."
    ),
    noted(
        "The score exceeds chance at the highest losses fitted already, {place}, and half of its rise comes within "
        "{width} {unit} of there; smooth curves explain it better than curves with a threshold (log Bayes factor "
        "{factor})."
    ),
    noted(
        "The score exceeds chance at the lowest losses alone, {place}, and half of its rise comes within {width} {unit} "
        "of there; smooth curves explain it better than curves with a threshold (log Bayes factor {factor})."
    ),
    noted(
        "The score exceeds chance at the highest losses fitted already, {place}, but whether it has a threshold is not "
        "decided (log Bayes factor {factor}; {needed} would show one, {smooth} a smooth curve); more items, or "
        "checkpoints around the onset, would tell."
    ),
    noted(
        "The score exceeds chance at the lowest losses alone, {place}, but whether it has a threshold is not decided "
        "(log Bayes factor {factor}; {needed} would show one, {smooth} a smooth curve); more items, or checkpoints "
        "around the onset, would tell."
    ),
    noted("at or above {loss} [{low} or above]"),
    noted("at or above {loss}"),
    noted("at or below {loss} [{high} or below]"),
    noted("at or below {loss}"),
    noted("{low} or above"),
    noted("{high} or below"),
    noted(
        "the scores above it exceed chance as well, by {errors} standard errors; more items would tell that level from "
        "chance"
    ),
    noted("runs set in at losses too far apart for one threshold ({runs})"),
    noted(
        "{count} of {runs} run(s) score above chance ({chance}) by more than their error ({names}), but no curve "
        "follows: how they depend on the loss is not shown."
    ),
    noted(
        "At high losses the score stands at {floor}, below chance ({chance}), and rises to chance; at the lowest "
        "losses, more than {score} is excluded."
    ),
    noted("Curves with a threshold are favoured, but {failed}."),
    noted("Curves with a threshold near a loss of {loss} are favoured, but {failed}."),
    noted("only {count} checkpoint(s) lie below it; checkpoints at lower losses would tell"),
    noted("only {count} checkpoint(s) lie above it; checkpoints at higher losses would tell"),
    noted("one checkpoint, or the choice of the items, may explain the scores below it; more would tell"),
    noted("one run alone is above chance below it; a second run at such losses would tell"),
    noted("one run alone was seen above it; a second run at such losses would tell"),
    noted("the run {run} alone decides it; more runs across it would tell"),
    noted("one checkpoint alone decides it; more checkpoints around it would tell"),
    noted("its interval covers half of the losses that it could lie at; more checkpoints would tell"),
    noted("The score does not change with loss, and its chance level is unknown."),
    noted(
        "The scores stand at {floor}, above chance ({chance}), at all losses seen and are not shown to change with the "
        "loss; an ability and a fixed rule of answering look alike here."
    ),
    noted(
        "{count} of {runs} run(s) score above chance ({chance}) by more than their error ({names}), but no curve "
        "follows: at equal loss others do not."
    ),
    noted("The scores are at chance ({chance}) at all losses seen; at the lowest, more than {score} is excluded."),
    noted(
        "The scores are at or below chance ({chance}) at all losses seen; at the lowest, more than {score} is excluded."
    ),
    noted(
        "No score is shown to exceed chance ({chance}), but {score} at the lowest loss is not excluded; more items, or "
        "lower losses, would tell."
    ),
    noted("The score improves without a threshold; whether it was ever at chance is unknown."),
    noted(
        "The chance level is unknown, so that no ability is shown to be absent at high losses; give the chance level."
    ),
    noted(
        "At high losses the score stands at {floor}, below chance ({chance}), and it improves from there without a "
        "threshold."
    ),
    noted(
        "At high losses the score stands at {floor}, above chance ({chance}), and it improves from there without a "
        "threshold."
    ),
    noted(
        "At high losses the score stands at {floor}, below chance ({chance}), and leaves that level; crossing chance "
        "from below is not the onset of an ability."
    ),
    noted(
        "At high losses the score stands at {floor}, below chance ({chance}), and leaves that level near a loss of "
        "{loss}; crossing chance from below is not the onset of an ability."
    ),
    noted(
        "At high losses the score stands at {floor}, above chance ({chance}), and leaves that level; a rule that needs "
        "no ability may score so much, and the ability may be there already."
    ),
    noted(
        "At high losses the score stands at {floor}, above chance ({chance}), and leaves that level near a loss of "
        "{loss}; a rule that needs no ability may score so much, and the ability may be there already."
    ),
    noted(
        "At high losses the score stands at {floor}, below chance ({chance}), and rises to chance; at the lowest loss, "
        "more than {score} is excluded."
    ),
    noted(
        "At high losses the score stands at {floor}, below chance ({chance}), and rises; that it exceeds chance at the "
        "lowest loss is not shown, nor that it does not."
    ),
    noted(
        "At chance above a loss of {loss} [{low}, {high}] and above chance below it (log Bayes factor for a threshold "
        "{factor})."
    ),
    noted(
        "At or below chance above a loss of {loss} [{low}, {high}] and above chance below it (log Bayes factor for a "
        "threshold {factor})."
    ),
    noted("There is one run only: what set in at this loss and what merely happened then cannot be told apart."),
    noted("There are only {count} scores with a loss; {needed} or more would tell."),
    noted("All scores are at one loss; checkpoints at other losses would tell."),
    noted("All scores are {score}, which is chance."),
    noted(
        "All scores are {score}, and whether it is chance is unknown: a score that does not change says nothing of the "
        "loss."
    ),
    noted("All scores are {score}, where chance is {chance}: a score that does not change says nothing of the loss."),
    noted(
        "{kept} of {count} emergent verdicts pass e-BH at a false discovery rate of {rate} over the {curves} curves "
        "that exceed chance."
    ),
)

CLAIMS = (
    noted("At equal loss models score the same, whatever their size and number of training tokens: one curve for all."),
    noted("Against training compute the scores do not fall on one curve."),
    noted("Some abilities rise from the start as the loss falls; others stay at chance down to a loss of their own."),
    noted("Thresholds under accuracy are confirmed by continuous metrics."),
    noted("An emergent ability cannot be predicted by extrapolating from models of higher loss."),
    noted("The loss on the whole mix predicts the tasks of each of its languages."),
    noted("of parameters nothing can be said: no task shows an ability over several of them"),
    noted("of training tokens nothing can be said: no task shows an ability over several of them"),
    noted(
        "ten times the parameters: {equivalent} of {count} scores are equivalent (within the margin), {differs} differ, "
        "{inconclusive} are inconclusive"
    ),
    noted(
        "ten times the training tokens: {equivalent} of {count} scores are equivalent (within the margin), {differs} "
        "differ, {inconclusive} are inconclusive"
    ),
    noted("mean {mean} pp [{low}, {high}], median size {median} pp"),
    noted("no task shows an ability over several sizes with known compute"),
    noted(
        "at equal compute ten times the parameters change {differs} of {count} scores by more than the margin and leave "
        "{equivalent} equivalent (median {median} pp, against {other} pp at equal loss)"
    ),
    noted("no size could be held out"),
    noted(
        "a held-out size is predicted better by loss on {wins} of {count} tasks (median R² {loss} against {compute}; "
        "sign test p = {p})"
    ),
    noted(
        "of {count} tasks {emergent} have a threshold, {smooth} rise without one, {chance} are not above chance, "
        "{inconclusive} are inconclusive"
    ),
    noted("fewer than {count} tasks say nothing of tasks in general"),
    noted("thresholds from {first} to {last}, {apart} of {pairs} pairs of intervals do not overlap"),
    noted("no task has a threshold under its headline metric"),
    noted(
        "of {count} thresholds under discontinuous metrics {confirmed} are confirmed by continuous metrics, {absent} are "
        "absent under them, {inconclusive} are inconclusive"
    ),
    noted("no emergent ability has enough checkpoints above its threshold to extrapolate from"),
    noted(
        "extrapolation from the models above the threshold predicts too little at the lowest losses on {missed} of "
        "{count} emergent abilities, the observed score above the {level} prediction interval (median excess over "
        "chance: predicted {predicted} pp, observed {seen} pp)"
    ),
    noted("fewer than {count} abilities say nothing of abilities in general"),
    noted("the table has no loss on a mix beside the losses of its languages"),
    noted("no two languages have tasks that can tell losses apart"),
    noted(
        "{language}: median R² {median} by the whole loss over {count} tasks, their own language's loss adds {gain} "
        "[{low}, {high}]"
    ),
)

COMPARISONS = (
    noted("confirmed by continuous metrics"),
    noted("absent under continuous metrics"),
    noted("inconclusive"),
    noted("{metric} has a threshold at {where}"),
    noted("{metric} has one at {where}"),
    noted("{metric} exceeds chance without a threshold"),
    noted("{metric} does not tell ({reason})"),
    noted("no known chance level, so a smooth curve is no ability"),
    noted("at chance"),
    noted("emergent"),
    noted("smooth"),
    noted("Of {count} loss measures {best} predicts a held-out family best: R² {score}, mean error {error} pp."),
    noted("Of {count} loss measures {best} predicts a held-out size best: R² {score}, mean error {error} pp."),
    noted("{measure}, the default, is not among them and stays."),
    noted("It is the default."),
    noted("The data cannot tell the default from the best, so the default is kept."),
    noted("The default is shown to predict worse than the best."),
    noted("Intervals ({level}, all at once) are over sizes."),
    noted("Intervals ({level}, all at once) are over families."),
    noted("Intervals ({level}, all at once) are over runs, for these very sizes."),
    noted("Intervals ({level}, all at once) are over runs, for these very families."),
    noted("The next, {measure}, has {score}; with one run a {group} no interval can be given on the difference."),
    noted("The default, {measure}, has {score}; with one run a {group} no interval can be given on the difference."),
    noted(
        "The next, {measure}, has {score}, {less} less [{low}, {high}]: worse for {wins} of {count} {groups}, and shown "
        "to be."
    ),
    noted(
        "The next, {measure}, has {score}, {less} less [{low}, {high}]: worse for {wins} of {count} {groups}, which does "
        "not tell them apart."
    ),
    noted(
        "The default, {measure}, has {score}, {less} less [{low}, {high}]: worse for {wins} of {count} {groups}, and "
        "shown to be."
    ),
    noted(
        "The default, {measure}, has {score}, {less} less [{low}, {high}]: worse for {wins} of {count} {groups}, which "
        "does not tell them apart."
    ),
    noted("sizes"),
    noted("families"),
    noted("size"),
    noted("family"),
    noted("The findings use {measure}."),
    noted("To use {measure} instead, analyse again with --loss auto."),
    noted("Family '{family}' lies {pp} pp above the common curve: {effect} pp [{low}, {high}] at equal loss."),
    noted("Family '{family}' lies {pp} pp below the common curve: {effect} pp [{low}, {high}] at equal loss."),
    noted("The threshold of {task} ({metric}), converted from {measure} ({unit}) to {other} ({there}): {values}."),
)

NOTES = (
    noted("rows without a score, left out: {count}"),
    noted("rows with a missing value, left out: {count} ({columns})"),
    noted("scores of models that had seen no token yet, left out: {count}"),
    noted("rows that repeat another exactly, left out: {count}"),
    noted("higher is taken to be better for metric '{metric}': a column 'direction' can say otherwise"),
    noted("curves of more than {most} points, fitted to one checkpoint in {every} of each run: {count}"),
    noted("scores of {metrics} were given in percent and are read as fractions"),
    noted("run '{run}' repeats run '{other}' in every number: it counts once"),
    noted("items that could not be scored, left out of their scores: {count}"),
    noted("run {run} failed and was left out: {reason}"),
    noted("splits of one task have different verdicts under {metric}: {verdicts}; neither stands alone"),
    noted(
        "overlap with training text: of '{text}' ({language}), {share} of pieces of about fifty bytes occur in it, and "
        "{whole} of documents for the most part"
    ),
    noted("the best constant answer is not known of {tasks}: the chance of their exact match is taken as 0"),
    noted("beyond the losses seen ({low} to {high})"),
    noted("within the losses seen"),
    noted("the table shows no threshold, so none is predicted"),
    noted("in {share} of the draws no number of tokens reaches the threshold"),
)

STAGES = (
    noted(
        "some checkpoints are tuned: the findings are of those that are not, at whose losses the tuned ones are placed"
    ),
    noted("{count} checkpoints within tunings are left out: of each tuning the last one counts"),
    noted("{task} at stage '{stage}' sets in earlier, at higher loss: by {nats} [{low}, {high}] {unit}."),
    noted("{task} at stage '{stage}' sets in later, at lower loss: by {nats} [{low}, {high}] {unit}."),
    noted("{task} at stage '{stage}' sets in at the same loss: by {nats} [{low}, {high}] {unit}."),
    noted("{task} at stage '{stage}' sets in at a loss that is not told apart: by {nats} [{low}, {high}] {unit}."),
    noted("It may set in at higher losses than were seen."),
    noted("{task} sets in at stage '{stage}' alone: earlier than in the base by at least {low} {unit}."),
    noted("{task} sets in in the base alone: at stage '{stage}' later by at least {high} {unit}."),
    noted("{task} at stage '{stage}' is not compared: no onset loss is told of both (base {base}, tuned {tuned})."),
    noted(
        "Whether stage '{stage}' foretells the base is not asked: {count} tasks set in at both, {needed} or more would "
        "tell."
    ),
    noted(
        "Stage '{stage}' foretells where the base sets in: each of {count} tasks held out in turn, its onset loss is "
        "missed by {error} nats from the tuned onset and by {without} without it (gain {gain} [{low}, {high}])."
    ),
    noted(
        "Stage '{stage}' misleads about where the base sets in: each of {count} tasks held out in turn, its onset loss "
        "is missed by {error} nats from the tuned onset and by {without} without it (gain {gain} [{low}, {high}])."
    ),
    noted(
        "Stage '{stage}' is not shown to foretell where the base sets in: each of {count} tasks held out in turn, its "
        "onset loss is missed by {error} nats from the tuned onset and by {without} without it (gain {gain} [{low}, "
        "{high}])."
    ),
)

QUESTIONS = (
    noted(
        "asked {kept} instead of {shots}-shot: {which} prompts were cut to fit the context ({count} of {all} checkpoints)"
    ),
    noted("{questions} questions too long for the context ({count} of {all} checkpoints)"),
)
"""What ``store.coverage`` says of how a task was asked."""

PATTERNS = (*VERDICTS, *CLAIMS, *COMPARISONS, *NOTES, *STAGES, *QUESTIONS)
