"""`hf-prefix`: an lm-eval model that scores faster the requests whose prompts begin alike.

It is lm-eval's `hf` model (`lm_eval --model hf-prefix --model_args pretrained=…`), with the same arguments and the same
log-likelihoods: to 1e-10 nats in float64, and in float32 within the model's own rounding errors, mostly below 1e-4
("How exact `hf-prefix` is" in `lm_eval_tasks/README.md`). It helps most with few-shot prompts and with several choices
for a question, whose tokens are mostly the same: on 5-shot MMLU it is 15 to 20 times as fast as `hf` on a CPU. It
generates too, and then reads each prompt once for all of its samples. It does not depend on the rest of the project.

The modules, in the order in which they are best read:

1. `prefix_tree`: lm-eval tokenises the requests; their inputs form a prefix tree, which is cut into steps.
2. `steps`: a step is one forward pass over the packed tokens of several branches of the tree; plain arrays.
3. `packed`: runs the steps on the model, and keeps the keys and values that later steps continue from.
4. `attention`: on a CPU, computes attention run by run instead of masking most of one large product.
5. `head`: the output head and the log-softmax, only at the positions that are read, in blocks of the vocabulary.
6. `accumulator`: collects hidden states until the head has enough rows, and sums the log-probabilities.
7. `batch_limits`: how many tokens and rows are computed at once; halved when a device runs out of memory.
8. `compatibility`: checks whether a model can run in packed steps; if not, it is scored as `hf` scores it.
9. `dtype_speed`: measures whether this CPU is slow in a dtype.
10. `onednn_products`: multiplies matrices by oneDNN on CPUs where that is faster in float32.
11. `gated_mlp`: gated feed-forward networks by oneDNN, with the activation inside the first product.
12. `cache`: the name of the argument through which a model takes its key-value cache.
13. `generation`: generates several samples of a prompt, which is read once.
14. `silence`: turns lm-eval's logging off.
15. `model_args`: checks the arguments of `hf` that apply to a model that is loaded already.
16. `shared_trees`: what the scorers of several models share: prefix trees, limits, compatibility.
17. `answer_lengths`: `MeasuringLM`, lm-eval's `hf`, but it counts the tokens of generated answers.
18. `encoding`: `EncodingLM`, a `MeasuringLM` that tokenises many texts at once.
19. `generating`: `GeneratingLM`, an `EncodingLM` that generates as in `generation`.
20. `model`: `PrefixLM`, the lm-eval model, a `GeneratingLM` that scores in packed steps; and `build_lm`, which makes
    one for a loaded model.
"""

from mergekit_calib.errors import HostVersionError
from mergekit_calib.versions import version_problem

# Before a module below fails to import something from an lm-eval that is too new.
if problem := version_problem("lm-eval"):
    raise HostVersionError(problem)
