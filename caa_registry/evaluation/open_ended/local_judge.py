"""A judge that is a local model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from caa_registry.display.records import Record
from caa_registry.errors import ModelError, UsageError
from caa_registry.evaluation.open_ended.judging import INSTRUCTIONS, Answered, JudgeIdentity, Rating, judged_text, rated
from caa_registry.evaluation.open_ended.rubrics import Rubric
from caa_registry.models.model import Model

REPLY_TOKENS = 16


@dataclass(frozen=True)
class LocalJudge(Record):
    """``model`` as a judge by ``rubric``, greedy, through its default template."""

    model: Model
    rubric: Rubric

    @property
    def identity(self) -> JudgeIdentity:
        info = self.model.info
        sampling = {"temperature": 0, "max_tokens": REPLY_TOKENS}
        return JudgeIdentity("local", info.name, self.rubric.digest, info.fingerprint.digest, sampling)

    def ratings(self, answers: Sequence[Answered]) -> Iterator[Rating]:
        """A rating of each answer, in order.

        Raises ``UsageError`` where the model is steered, ``ModelError`` for an answer that does not fit its context.
        """
        for index, answered in enumerate(answers):
            if self.model.stream.tapped_now:
                raise UsageError("the judge is steered", "Rate outside of the steering context.")
            # In one message: some chat templates take no system prompt.
            prompt = f"{INSTRUCTIONS}\n\n{judged_text(self.rubric, answered)}"
            try:
                reply = self.model.generate(prompt, max_tokens=REPLY_TOKENS)
            except ModelError as error:
                raise ModelError(
                    f"answer {index + 1} cannot be judged: {error.message}", "Choose another model as the judge."
                ) from error
            yield rated(index, reply)
