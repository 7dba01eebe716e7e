"""`hf-prefix`: an lm-eval model that scores requests faster where they share the beginning of their prompts.

It is lm-eval's `hf` model with the same arguments and, to about 1e-4 nats in float32, the same log-likelihoods
(`lm_eval --model hf-prefix --model_args pretrained=…`). It helps most with few-shot prompts and with several choices
for a question, whose tokens are mostly the same: on 5-shot MMLU it is 15 to 20 times as fast as `hf` on a CPU. It
generates too, and then reads each prompt once for all of its samples. It knows nothing of sweeps; a sweep uses it like
any other lm-eval model.

How requests become answers, in the order in which the modules are best read:

1. `prefix_tree`: lm-eval tokenises the requests; their inputs form a prefix tree, which is cut into steps.
2. `steps`: a step, one forward pass: the packed tokens of several branches of the tree, as plain arrays.
3. `packed`: runs the steps on the model, and keeps the keys and values of what later steps share.
4. `attention`: on a CPU, computes attention branch by branch instead of masking most of one large product.
5. `head`: the output head and the log-softmax, only at the positions that are read, in blocks of the vocabulary.
6. `accumulator`: collects hidden states until the head has enough rows, and sums the log-probabilities.
7. `batch_limits`: how many tokens and rows are computed at once; halved when a device runs out of memory.
8. `compatibility`: tells which models can run in packed steps; the others are scored as `hf` scores them.
9. `dtype_speed`: warns of a dtype in which this CPU is slow.
10. `cache`: the name of the argument through which a model takes its cache.
11. `generation`: several samples of a prompt, which is read once.
12. `silence`: turns lm-eval's logging off while something else speaks to the user.
13. `model_args`: which arguments of `hf` apply to a model that is loaded already.
14. `shared_trees`: prefix trees that several models with one tokenizer share.
15. `model`: `PrefixLM`, the lm-eval model, and `build_lm`, which makes one for a loaded model.
"""

from mergekit_calib.errors import HostVersionError
from mergekit_calib.versions import version_problem

# Before a module below fails to import something from an lm-eval that is too new.
if problem := version_problem("lm-eval"):
    raise HostVersionError(problem)
