"""Log-probabilities of whole rows: prompts padded on the left, then completions, the last `time` columns."""

from llm_exps.logprobs import token_logprobs


def completion_logprobs(model, tokens, valid, *, time, temperature=1.0, chunk=1024):
    # The hidden state of one position predicts the token of the next.
    hidden = model(tokens, segments=valid)[:, -time - 1 : -1]
    return token_logprobs(model, hidden, tokens[:, -time:], temperature=temperature, chunk=chunk)
