"""Bugs to plant in the compiler, one at a time: a line of its source and what it would be if somebody had erred.

They are errors that compilers of nets have had or nearly had: conditions of passes that forget an axis or a second
reader, lifetimes that end too early, masks and bounds off by one, an order of operations that does not commute. The
fuzzer has to find each of them (see compiler.py).
"""

from __future__ import annotations

from typing import NamedTuple


class Bug(NamedTuple):
    """In the module `file` of nn512, `right`, which stands there once, becomes `wrong`."""

    name: str
    file: str
    right: str
    wrong: str


BUGS: tuple[Bug, ...] = (
    # ---- Passes
    Bug(
        "norm folded behind a second reader",
        "passes/fold_batchnorm.py",
        "if len(uses[op.source]) != 1 or op.source in outputs:",
        "if op.source in outputs:",
    ),
    Bug(
        "norm folded before a convolution padded in columns",
        "passes/fold_batchnorm.py",
        "padded = any(b.node.is_padded for b in user.branches)",
        "padded = any(b.node.padding_top or b.node.padding_bottom for b in user.branches)",
    ),
    Bug(
        "norms in a row folded in the wrong order, before",
        "passes/fold_batchnorm.py",
        "normalized=(norm, *user.normalized)",
        "normalized=(*user.normalized, norm)",
    ),
    Bug(
        "norms in a row folded in the wrong order, behind",
        "passes/fold_batchnorm.py",
        "folded=(*branch.folded, norm)",
        "folded=(norm, *branch.folded)",
    ),
    Bug(
        "average moved before a padded 1x1 convolution",
        "ir/ops/conv.py",
        "(node.filter_h, node.filter_w, node.stride_h, node.stride_w) == (1, 1, 1, 1) and not node.is_padded",
        "(node.filter_h, node.filter_w, node.stride_h, node.stride_w) == (1, 1, 1, 1) and not node.padding_top",
    ),
    Bug(
        "average that counts padding moved before a convolution",
        "ir/ops/pool.py",
        "return not self.is_max and (self.divisor is None or not self.node.is_padded)",
        "return not self.is_max",
    ),
    Bug(
        "averages of different padding shared",
        "passes/pool_first.py",
        "number = first.setdefault(dataclasses.replace(op, ahead_of=()).key, len(ops))",
        "number = first.setdefault((op.source, op.node.window_h, program.shapes[op.writes]), len(ops))",
    ),
    Bug(
        "a sum taken by merged convolutions before its addend is there",
        "passes/fuse_elementwise.py",
        "if stays and any(self._now(self._writer[operand]) >= before for operand in operands):",
        "if stays and any(self._now(self._writer[operand]) >= number for operand in operands):",
    ),
    Bug(
        "convolutions of which one reads a norm merged",
        "passes/merge_convs.py",
        "return op.source, op.normalized, op.prologue,",
        "return op.source, op.prologue,",
    ),
    Bug(
        "every second pixel sampled for a stride of 3",
        "passes/skip_unread.py",
        "                if stride != SAMPLING_STRIDE:\n",
        "                if min(stride) < 2:\n",
    ),
    Bug(
        "pixels skipped that a padded convolution reads",
        "passes/skip_unread.py",
        "if node is not None and node.filter_h == node.filter_w == 1 and not node.is_padded:",
        "if node is not None and node.filter_h == node.filter_w == 1:",
    ),
    Bug(
        "pixels skipped that a filter of one row reads",
        "passes/skip_unread.py",
        "if node is not None and node.filter_h == node.filter_w == 1 and not node.is_padded:",
        "if node is not None and node.filter_h == 1 and not node.is_padded:",
    ),
    Bug(
        "the last row of a thinned tensor forgotten",
        "passes/skip_unread.py",
        "Shape(shape.channels, -(-shape.height // stride[0]), -(-shape.width // stride[1]))",
        "Shape(shape.channels, max(1, shape.height // stride[0]), -(-shape.width // stride[1]))",
    ),
    Bug(
        "a step fused that has another reader",
        "passes/fuse_elementwise.py",
        "alone = len(self._readers[way.source]) == 1 and way.source not in self._outputs",
        "alone = way.source not in self._outputs",
    ),
    Bug(
        "a chain fused into a pooling that reads its operand by pixel",
        "passes/fuse_elementwise.py",
        "case _ if not all(step.may_precede for step in op.chain):",
        "case _ if not any(step.may_precede for step in op.chain):",
    ),
    Bug(
        "steps done behind those that read them",
        "passes/fuse_elementwise.py",
        "dataclasses.replace(user, source=op.source, chain=(*op.chain, *user.chain))",
        "dataclasses.replace(user, source=op.source, chain=(*user.chain, *op.chain))",
    ),
    Bug(
        "the second of two ReLUs of negative slope kept",
        "ir/steps/activation.py",
        "slope = before if before < 0 else before * after",
        "slope = before * after",
    ),
    Bug(
        "differences taken for equal from both sides",
        "ir/steps/binary.py",
        "return type(self), self.node.key, len(self.operands), self.reverses",
        "return type(self), self.node.key, len(self.operands)",
    ),
    Bug(
        "a function that does not commute swapped",
        "ir/steps/binary.py",
        "reverses=not self.reverses and not self.node.COMMUTES",
        "reverses=False",
    ),
    Bug(
        "a part of two wholes written into one of them",
        "passes/drop_concat.py",
        "if many or source in placed:",
        "if many:",
    ),
    Bug(
        "a slice read where it stands that begins inside a block",
        "plan/layouts.py",
        "return not others and run.step == 1 and layout.lanes == LANES and not layout.position(run.first)[1]",
        "return not others and run.step == 1 and layout.lanes == LANES and not layout.position(run.first)[1] % 8",
    ),
    Bug(
        "every second channel of a slice of a slice",
        "ir/picking.py",
        "yield Pick(source, first + place * step, high - low + 1, step * node.step)",
        "yield Pick(source, first + place, high - low + 1, step * node.step)",
    ),
    # ---- Places in memory
    Bug(
        "an operand of a step dies with its first reader",
        "plan/placing.py",
        "        for name in op.tensors_read:\n",
        "        for name in op.tensors_read[:1]:\n",
    ),
    Bug(
        "a joined whole is born with its last part",
        "plan/placing.py",
        "first[joined.writes] = min(first[part] for part in joined.parts)",
        "first[joined.writes] = max(first[part] for part in joined.parts)",
    ),
    Bug(
        "what a view is of dies before it",
        "plan/placing.py",
        "last[source] = max(last.get(source, 0), last[view.writes])",
        "last[source] = last.get(source, 0)",
    ),
    Bug(
        "a segment behind one that ends inside a block",
        "plan/layout.py",
        "            channel -= segment\n            block += -(-segment // self.lanes)\n",
        "            channel -= segment\n            block += segment // self.lanes\n",
    ),
    # ---- Geometry
    Bug(
        "the left padding is the top one",
        "plan/conv_geometry.py",
        "across = Axis(source.width, result.width, node.filter_w, node.stride_w, padding.left, node.dilation_w)",
        "across = Axis(source.width, result.width, node.filter_w, node.stride_w, padding.top, node.dilation_w)",
    ),
    Bug(
        "filter rows spread as the columns where both are",
        "kernels/conv_tile.py",
        'row = (i - Name("top")) * self.dilation_h',
        'row = (i - Name("top")) * (self.dilation_h if self.dilation_w == 1 else self.dilation_w)',
    ),
    Bug(
        "the last tap at a right edge under dilation",
        "plan/conv_geometry.py",
        "end = min(axis.taps, -((first - axis.size) // axis.dilation))",
        "end = min(axis.taps, -((first - axis.size + (axis.dilation > 2)) // axis.dilation))",
    ),
    Bug(
        "a Winograd tile too many taken for one inside",
        "plan/tile_grid.py",
        "last = (self.axis.size - self.window + self.axis.before) // step",
        "last = (self.axis.size - self.window + self.axis.before + 1) // step",
    ),
    # ---- Kernels
    Bug(
        "the last pixel of sixteen not loaded",
        "kernels/border.py",
        "if (j + 12 < count) _mm512_storeu_ps(out[p + 12 + j]",
        "if (j + 12 < count - 1) _mm512_storeu_ps(out[p + 12 + j]",
    ),
    Bug(
        "a sixteenth channel stored that is not there",
        "kernels/border.py",
        "if (c < channels) _mm512_mask_storeu_ps(out + c * pixels + p, mask, v[c]);",
        "if (c < channels || c == 15) _mm512_mask_storeu_ps(out + c * pixels + p, mask, v[c]);",
    ),
    Bug(
        "pooling windows taken for whole at the right edge",
        "kernels/pooling_columns.py",
        "high = max(low, min(along.places, (along.size - along.window + before) // stride + 1))",
        "high = max(low, min(along.places, (along.size - along.window + before + 1) // stride + 1))",
    ),
    Bug(
        "a maximum that forgets NaN",
        "kernels/pooling.py",
        "    return _mm512_mask_max_ps(largest, ordered, largest, v);",
        "    return _mm512_max_ps(largest, v); /* ordered */",
    ),
    Bug(
        "a softmax that forgets NaN",
        "kernels/softmax.py",
        "const __m512 v = exp_of(_mm512_max_ps(least, below));",
        "const __m512 v = exp_of(_mm512_max_ps(below, least));",
    ),
    Bug(
        "a softmax that subtracts no more than 0",
        "kernels/softmax.py",
        '"__m512 largest = _mm512_set1_ps(*x), sum = _mm512_setzero_ps();"',
        '"__m512 largest = _mm512_setzero_ps(), sum = _mm512_setzero_ps();"',
    ),
    Bug(
        "epsilon of a channel norm forgotten",
        "kernels/channel_norm.py",
        "_mm512_sqrt_ps(_mm512_add_ps(power, _mm512_set1_ps(epsilon)))",
        "_mm512_sqrt_ps(_mm512_add_ps(power, _mm512_set1_ps(0 * epsilon)))",
    ),
    Bug(
        "a channel norm that scales what steps were not done on",
        "kernels/channel_norm.py",
        'return "out" if self.before.steps else "x"',
        'return "x"',
    ),
    Bug(
        "an even LRN window on the other side",
        "kernels/lrn.py",
        "self.before, self.behind = (node.size - 1) // 2, node.size // 2",
        "self.before, self.behind = node.size // 2, (node.size - 1) // 2",
    ),
    Bug(
        "LRN squares lanes without a channel",
        "kernels/lrn.py",
        "block < blocks - 2 ? 0xffff : block < blocks - 1 ? some : 0;",
        "block < blocks - 1 ? 0xffff : some & 0;",
    ),
    Bug(
        "a group that begins in the last lane of a block",
        "kernels/conv_tile.py",
        "group * {outputs} < k + 16; group++)",
        "group * {outputs} < k + 15; group++)",
    ),
    Bug(
        "the third piece of a gathered block",
        "kernels/gathering.py",
        "for (ptrdiff_t i = 2; i < pieces; i++)",
        "for (ptrdiff_t i = 3; i < pieces; i++)",
    ),
    Bug(
        "the first row or column of a slice with a step",
        "kernels/picking.py",
        'return f"{scaled} + {first}" if first else scaled',
        'return f"{scaled} + {first}" if first and step == 1 else scaled',
    ),
    Bug(
        "a difference from the other side in a chain",
        "kernels/chain/binary.py",
        "first, second = (other, own) if step.reverses else (own, other)",
        "first, second = own, other",
    ),
    Bug(
        "an operand of one row read in every row",
        "kernels/chain/binary.py",
        "places = (0 if spread.rows else row, 0 if spread.columns else column)",
        "places = (row, 0 if spread.columns else column)",
    ),
    Bug(
        "a prologue lost before a padded copy",
        "plan/laying.py",
        "    if op.prologue:  # which must not see the zeros\n",
        "    if op.prologue and op.zeros.columns:\n",
    ),
    Bug(
        "rest inputs of a fully connected layer in the last row only",
        "kernels/fully_connected.py",
        "ragged = any(lanes % sums for _, lanes in self.spans)",
        "ragged = any(lanes % sums for _, lanes in self.spans[:-1])",
    ),
    # ---- Packing and threads
    Bug(
        "norm of the first group before a grouped convolution",
        "kernels/packing.py",
        "const ptrdiff_t source = p->before == NULL ? 0 : k / p->groupOutputs * p->inputs + c;",
        "const ptrdiff_t source = p->before == NULL ? 0 : c;",
    ),
    Bug(
        "weights of segments that end inside a block",
        "kernels/packing.py",
        "start += (*segments + 15) / 16 * 16;",
        "start += *segments;",
    ),
    Bug(
        "weights of a depthwise convolution in order, of channels in segments",
        "kernels/packing_grouped.py",
        "const ptrdiff_t place = position(p->segments, k);",
        "const ptrdiff_t place = position(p->segments && *p->segments > 0 ? NULL : p->segments, k);",
    ),
    Bug(
        "weights for what a shuffle makes of what is read",
        "kernels/packing.py",
        "channel = channel % -segments[0] * segments[1] + channel / -segments[0], segments += 2;",
        "segments += 2;",
    ),
    Bug(
        "weights shuffled as what is read must be unshuffled",
        "kernels/packing.py",
        "channel = channel % -segments[0] * segments[1] + channel / -segments[0], segments += 2;",
        "channel = channel % segments[1] * -segments[0] + channel / segments[1], segments += 2;",
    ),
    Bug(
        "weights of a depthwise convolution in order, of channels before a shuffle",
        "kernels/packing_grouped.py",
        "const ptrdiff_t place = position(p->segments, k);",
        "const ptrdiff_t place = position(p->segments && *p->segments < 0 ? p->segments + 2 : p->segments, k);",
    ),
    Bug(
        "a shuffle forgotten that another layer reads",
        "passes/fold_shuffle.py",
        "            for number in self._users[name]:\n",
        "            for number in self._users[name][:1]:\n",
    ),
    Bug(
        "a shuffle of what a gate is for channel by channel",
        "passes/fold_shuffle.py",
        "any(step.has_parameters or step.operands_in_lanes for step in steps)",
        "any(step.has_parameters for step in steps)",
    ),
    Bug(
        "large halves overflow beside small ones",
        "kernels/packing_halves.py",
        "const int lift = up > 0 ? up : 0, exponent = lift < most ? lift : most;",
        "const int lift = up > 0 ? up : 0, exponent = lift < most ? lift : lift;",
    ),
    Bug(
        "the shift of a norm scaled by the one behind",
        "kernels/packing.py",
        "all.shift = (all.shift - norms->means[channel]) * scale + norms->shifts[channel];",
        "all.shift = (all.shift - norms->means[channel] + norms->shifts[channel]) * scale;",
    ),
    Bug(
        "shares of threads overlap where items are left over",
        "cgen/threads.py",
        "const ptrdiff_t first = index * each + (index < rest ? index : rest);",
        "const ptrdiff_t first = index * each + (index < rest ? 0 : rest);",
    ),
)
