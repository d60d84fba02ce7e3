"""Prompt tuning (Lester, Al-Rfou and Constant, 2021, arXiv:2104.08691) through PEFT."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from heliostat.core.errors import UserError
from heliostat.train.adapters.base import Base, Shapes

OTHERS = "Use lora, dora, ia3 or mixture."


class PromptTuning(Base):
    """Learned vectors before the text; nothing inside the model changes. The export is an adapter folder that `peft` opens."""

    merges: ClassVar[bool] = False

    tokens: int = Field(20, ge=1, le=1000)
    """How many vectors; they count against what the model can read."""

    def put_in(self, module: Any, head: list[str]) -> Any:
        from heliostat.engine import adapters

        _refuse(module)
        shape = module.config  # PEFT looks for these under names that not every architecture has
        settings = {"num_layers": shape.num_hidden_layers, "num_attention_heads": shape.num_attention_heads}
        settings |= {"token_dim": module.get_input_embeddings().embedding_dim, "num_virtual_tokens": self.tokens, "task_type": "SEQ_CLS"}
        return adapters.with_peft(module, "PromptTuningConfig", settings, None, head)

    def adds(self, shapes: Shapes) -> int:
        return self.tokens * max((shape[-1] for name, shape in shapes.items() if "embed" in name), default=0)

    def problems(self, shapes: Shapes, positions: int | None, task: Any) -> list[str]:
        if task.auto != "AutoModelForSequenceClassification":
            return [f"prompt_tuning is for tasks that classify a whole text, and the task is {task.name()}. {OTHERS}"]
        if positions is None or not task.max_tokens <= positions < task.max_tokens + self.tokens:  # a longer text is the task's to tell
            return []
        fewer, shorter = positions - task.max_tokens, positions - self.tokens
        ways = [f"1 to {fewer} vectors"] * (fewer >= 1) + [f"a task.max_tokens of 8 to {shorter}"] * (shorter >= 8)
        told = f"{self.tokens} vectors before a text of task.max_tokens {task.max_tokens}, and the model reads at most {positions}"
        return [f"tokens: {told}. Allowed: {', or '.join(ways) or 'less of both'}."]


def _refuse(module: Any) -> None:
    """`UserError` for a model whose answer about vectors depends on what a row is filled up with, or that takes no vectors.

    Decoders find a row's last token by its number, and vectors have none; encoder-decoders refuse them.
    """
    import torch

    embeddings, was_training = module.get_input_embeddings(), module.training
    vectors_1TD = torch.zeros(1, 8, embeddings.embedding_dim)
    vectors_1TD[:, :5] = embeddings.weight.detach()[5:10].float()
    mask_1T = (torch.arange(8)[None] < 5).long()
    try:
        with torch.no_grad():
            answers = [module.eval()(inputs_embeds=vectors_1TD[:, :n], attention_mask=mask_1T[:, :n]).logits for n in (5, 8)]
    except (NotImplementedError, ValueError, TypeError) as error:
        raise UserError(f"train.adapter: {type(module).__name__} takes no vectors before a text ({str(error)[:80]}). {OTHERS}") from None
    finally:
        module.train(was_training)
    if not torch.allclose(answers[0], answers[1], atol=1e-3, rtol=1e-3):
        raise UserError(f"train.adapter: {type(module).__name__} reads its answer where a row may be filled up. {OTHERS}")
