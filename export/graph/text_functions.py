"""What text.py writes models with: functions made of ONNX's operators, in ONNX's textual form (7 is its int64)."""

FUNCTIONS = (
    # ASCII letters in lower case; other locales than C know others too.
    """
    Lower (text) => (low)
    {
        all = Constant <value = int64[1] {-1}> ()
        flat = Reshape (text, all)
        flat_low = StringNormalizer <case_change_action = "LOWER", locale = "C"> (flat)
        sizes = Shape (text)
        low = Reshape (flat_low, sizes)
    }
    """,
    # Each part replaced: the text is taken apart there, and the pieces put together again. Reshape changes nothing, but
    # ONNX (1.23) would lose the type of what comes behind, and with it crash in LabelEncoder.
    """
    Replace <part> (text, rewrite) => (replaced)
    {
        pieces, counts = StringSplit <delimiter: string = @part> (text)
        most = Shape <start = -1> (pieces)
        trips = Squeeze (most)
        go = Constant <value = bool {1}> ()
        none = Constant <value = string {""}> ()
        zero = Constant <value = int64 {0}> ()
        sizes = Shape (text)
        start = Expand (none, sizes)
        joined = Loop (trips, go, start) <
            body = append (int64 i, bool going, string[] before) => (bool on, string[] after)
            {
                on = Identity (going)
                piece = Gather <axis = -1> (pieces, i)
                is_first = Equal (i, zero)
                gap = Where (is_first, none, rewrite)
                more = StringConcat (gap, piece)
                longer = StringConcat (before, more)
                is_there = Less (i, counts)
                after = Where (is_there, longer, before)
            }
        >
        replaced = Reshape (joined, sizes)
    }
    """,
    # The words between blanks of n texts: where they stand in a table (m, 2), the words (m), the table's size (2).
    """
    Split (text) => (places, words, sizes)
    {
        table, counts = StringSplit <delimiter = ""> (text)
        sizes = Shape (table)
        width_row = Shape <start = 1> (table)
        width = Squeeze (width_row)
        zero = Constant <value = int64 {0}> ()
        one = Constant <value = int64 {1}> ()
        last = Constant <value = int64[1] {1}> ()
        columns = Range (zero, width, one)
        counts_column = Unsqueeze (counts, last)
        is_there = Less (columns, counts_column)
        found = NonZero (is_there)
        places = Transpose <perm = [1, 0]> (found)
        words = GatherND (table, places)
    }
    """,
    # The characters of n texts: where each text's begin, their positions, and they themselves. ONNX can't tell them
    # apart, onnxruntime can; "" before them changes nothing, but keeps their type known.
    """
    SplitCharacters (text) => (splits, positions, characters)
    {
        padded = com.microsoft.Tokenizer <mark = 0, mincharnum = 1, pad_value = "", separators = [""]> (text)
        none = Constant <value = string {""}> ()
        table = StringConcat (none, padded)
        is_pad = Equal (table, none)
        is_there = Not (is_pad)
        found = NonZero (is_there)
        places = Transpose <perm = [1, 0]> (found)
        characters = GatherND (table, places)
        zero = Constant <value = int64 {0}> ()
        one = Constant <value = int64 {1}> ()
        zeros = Constant <value = int64[1] {0}> ()
        ones = Constant <value = int64[1] {1}> ()
        each = Cast <to = 7> (is_there)
        lengths = ReduceSum <keepdims = 0> (each, ones)
        ends = CumSum (lengths, zero)
        splits = Concat <axis = 0> (zeros, ends)
        size_row = Shape (characters)
        size = Squeeze (size_row)
        range = Range (zero, size, one)
        positions = Cast <to = 6> (range)
    }
    """,
    # Values and the row of each, ascending -> a table of `shape`, where -1 is as much as there is; more is cut off.
    """
    FillRows (shape, values, filler, count, row) => (table)
    {
        zero = Constant <value = int64 {0}> ()
        one = Constant <value = int64 {1}> ()
        zeros = Constant <value = int64[1] {0}> ()
        ones = Constant <value = int64[1] {1}> ()
        rows = Cast <to = 7> (row)
        count_long = Cast <to = 7> (count)
        height = Reshape (count_long, ones)
        none = Expand (zero, height)
        sizes = Shape (values)
        each = Expand (one, sizes)
        lengths = ScatterElements <axis = 0, reduction = "add"> (none, rows, each)
        ends = CumSum (lengths, zero)
        starts = Sub (ends, lengths)
        size = Squeeze (sizes)
        positions = Range (zero, size, one)
        start = Gather (starts, rows)
        columns = Sub (positions, start)
        at_least_one = Concat <axis = 0> (lengths, zeros)
        longest = ReduceMax <keepdims = 1> (at_least_one)
        shape_long = Cast <to = 7> (shape)
        wanted = Gather (shape_long, ones)
        is_free = Less (wanted, zeros)
        width = Where (is_free, longest, wanted)
        fits = Less (columns, width)
        rows_column = Unsqueeze (rows, ones)
        columns_column = Unsqueeze (columns, ones)
        places = Concat <axis = 1> (rows_column, columns_column)
        places_kept = Compress <axis = 0> (places, fits)
        values_kept = Compress <axis = 0> (values, fits)
        table_sizes = Concat <axis = 0> (height, width)
        empty = Expand (filler, table_sizes)
        table = ScatterND (empty, places_kept, values_kept)
    }
    """,
    # The row of each value, where rows end at the next one's split.
    """
    RowOfEach (values, splits) => (rows)
    {
        zero = Constant <value = int64 {0}> ()
        one = Constant <value = int64 {1}> ()
        zeros = Constant <value = int64[1] {0}> ()
        ones = Constant <value = int64[1] {1}> ()
        last = Constant <value = int64[1] {-1}> ()
        inner = Slice (splits, ones, last)
        inner_sizes = Shape (inner)
        steps = Expand (one, inner_sizes)
        sizes = Shape (values)
        sizes_more = Add (sizes, ones)
        still = Expand (zero, sizes_more)
        changes = ScatterElements <axis = 0, reduction = "add"> (still, inner, steps)
        rows_more = CumSum (changes, zero)
        rows = Slice (rows_more, zeros, last)
    }
    """,
    """
    FillSplitRows (shape, values, filler, splits) => (table)
    {
        one = Constant <value = int64 {1}> ()
        size = Size (splits)
        count = Sub (size, one)
        rows = edgecnn.text.RowOfEach (values, splits)
        table = edgecnn.text.FillRows (shape, values, filler, count, rows)
    }
    """,
    # Whole numbers below `size` in rows -> how often each is in each row.
    """
    CountInRows <reduction> (splits, values, size, weights) => (table)
    {
        ones = Constant <value = int64[1] {1}> ()
        rows = edgecnn.text.RowOfEach (values, splits)
        values_long = Cast <to = 7> (values)
        rows_column = Unsqueeze (rows, ones)
        values_column = Unsqueeze (values_long, ones)
        places = Concat <axis = 1> (rows_column, values_column)
        split_sizes = Shape (splits)
        height = Sub (split_sizes, ones)
        size_long = Cast <to = 7> (size)
        width = Reshape (size_long, ones)
        table_sizes = Concat <axis = 0> (height, width)
        nothing = Constant <value = float {0.0}> ()
        unit = Constant <value = float {1.0}> ()
        sizes = Shape (values)
        empty = Expand (nothing, table_sizes)
        units = Expand (unit, sizes)
        counts = ScatterND <reduction: string = @reduction> (empty, places, units)
        table = CastLike (counts, weights)
    }
    """,
    # Phrases of some words, one from each word on as long as there are enough -> those of a word more.
    """
    Longer (phrases, words, separator) => (longer)
    {
        zeros = Constant <value = int64[1] {0}> ()
        ones = Constant <value = int64[1] {1}> ()
        last = Constant <value = int64[1] {-1}> ()
        sizes = Shape (phrases)
        word_sizes = Shape (words)
        missing = Sub (word_sizes, sizes)
        first = Add (missing, ones)
        before = Slice (phrases, zeros, last)
        next = Slice (words, first, word_sizes)
        with_separator = StringConcat (before, separator)
        longer = StringConcat (with_separator, next)
    }
    """,
    # The phrases whose first and last word are in one row, and that row.
    """
    WithinRows (phrases, rows) => (kept, kept_rows)
    {
        zeros = Constant <value = int64[1] {0}> ()
        sizes = Shape (phrases)
        row_sizes = Shape (rows)
        missing = Sub (row_sizes, sizes)
        first = Slice (rows, zeros, sizes)
        last = Slice (rows, missing, row_sizes)
        is_one_row = Equal (first, last)
        kept = Compress <axis = 0> (phrases, is_one_row)
        kept_rows = Compress <axis = 0> (first, is_one_row)
    }
    """,
    # Values in ascending rows, in their order otherwise, and where those end; as many rows as were split before.
    """
    Sort (values, rows, splits) => (sorted, new_splits)
    {
        zero = Constant <value = int64 {0}> ()
        one = Constant <value = int64 {1}> ()
        zeros = Constant <value = int64[1] {0}> ()
        ones = Constant <value = int64[1] {1}> ()
        sizes = Shape (values)
        size = Squeeze (sizes)
        positions = Range (zero, size, one)
        scaled = Mul (rows, size)
        keys = Add (scaled, positions)
        sorted_keys, order = TopK <axis = 0, largest = 0, sorted = 1> (keys, sizes)
        sorted = Gather <axis = 0> (values, order)
        split_sizes = Shape (splits)
        height = Sub (split_sizes, ones)
        none = Expand (zero, height)
        each = Expand (one, sizes)
        lengths = ScatterElements <axis = 0, reduction = "add"> (none, rows, each)
        ends = CumSum (lengths, zero)
        new_splits = Concat <axis = 0> (zeros, ends)
    }
    """,
)
"""Model-local functions; their opset is text.OPSET."""
