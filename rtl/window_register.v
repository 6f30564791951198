// SPDX-License-Identifier: Apache-2.0
//
// Slides a window over the columns that a column_reader reads, a transfer a clock.
//
// - A queue takes up the columns. The first transfer of a row takes FIRST of them at once, each of
//   the next SLIDES transfers takes SLIDE, and the rest of the row is shifted in as padding.
// - The queue has room for a transfer's columns and AHEAD more, so that the reader can go on into
//   the next row. With AHEAD = 0 a transfer's columns are read after the one before has been
//   loaded.
// - With LATE, `window` holds a transfer in the clock after its handshake. What shifts the wide
//   registers then comes from registers, and not from window_ready.
//
// A column is COLUMN_BITS wide, and comes in UNIT_BITS at a time, 2 clocks after `read`.
// Latency: 3 clocks from `read` to the load that takes the column, 2 with LATE (`reader` in
// model/hardware/layers/window.py), and 1 from the load to window_valid.

`default_nettype none

module window_register #(
    parameter COLUMN_BITS = 24,
    parameter UNIT_BITS   = COLUMN_BITS,  // a divisor of COLUMN_BITS, which it is if AHEAD > 0
    parameter SPAN   = 3,   // columns of the register
    parameter LEFT   = 0,   // of them those left of the image in a row's first transfer: padding
    parameter FIRST  = 3,   // columns that a row's first transfer takes
    parameter SLIDE  = 1,   // columns that a later one moves on by
    parameter SLIDES = 25,  // transfers of a row that take SLIDE columns
    parameter STEPS  = 26,  // transfers a row
    parameter ROWS   = 26,  // rows of transfers an image
    parameter PAD_CODE = 0,  // every value of the padding
    parameter AHEAD  = 3,
    parameter LATE   = 0
) (
    input  wire                        clk,
    input  wire                        rst,
    input  wire                        read,
    input  wire                        column_done,  // this read is the last of its column
    input  wire [UNIT_BITS-1:0]        unit,         // what was read 2 clocks ago
    output wire                        room,         // for a column more than have been read
    output wire [SPAN*COLUMN_BITS-1:0] window,       // leftmost column lowest
    output wire                        window_last,  // of the image
    output wire                        window_valid,
    input  wire                        window_ready
);

    localparam [COLUMN_BITS-1:0] PAD = {COLUMN_BITS/8{PAD_CODE[7:0]}};

    localparam MOST       = (FIRST > SLIDE) ? FIRST : SLIDE;
    localparam QUEUE      = MOST + AHEAD;
    localparam ROOM       = (AHEAD != 0) ? QUEUE : FIRST;  // columns that may be read at first
    localparam FILL_WIDTH = $clog2(QUEUE + 1) + 1;         // signed
    localparam STEP_WIDTH = (STEPS > 1) ? $clog2(STEPS) : 1;
    localparam ROW_WIDTH  = (ROWS > 1) ? $clog2(ROWS) : 1;

    localparam [STEP_WIDTH-1:0] STEP_LAST   = STEPS[STEP_WIDTH-1:0] - 1'b1;
    localparam [ROW_WIDTH-1:0]  ROW_LAST    = ROWS[ROW_WIDTH-1:0] - 1'b1;
    localparam [FILL_WIDTH-1:0] ROOM_START  = ROOM[FILL_WIDTH-1:0] - 1'b1;
    localparam [FILL_WIDTH-1:0] FILL_FIRST  = FIRST[FILL_WIDTH-1:0];
    localparam [FILL_WIDTH-1:0] FILL_SLIDE  = SLIDE[FILL_WIDTH-1:0];
    localparam [FILL_WIDTH-1:0] FILL_NONE  = 0;

    // The transfer to load next is a row's first, slides on by columns of the queue, or by
    // padding.
    reg  [STEP_WIDTH-1:0] step_reg  = 0;
    reg  [ROW_WIDTH-1:0]  row_reg   = 0;
    reg                   first_reg = 1'b1;
    reg                   padding_reg = 1'b0;
    reg                   valid_reg = 1'b0;
    reg                   last_reg;
    wire                  step_last  = step_reg == STEP_LAST;
    wire                  padding_next;

    generate
        if (SLIDES >= STEPS - 1) begin : gen_no_padding
            assign padding_next = 1'b0;
        end else if (SLIDES == 0) begin : gen_padding
            assign padding_next = 1'b1;
        end else begin : gen_padding_late
            localparam [STEP_WIDTH-1:0] STEP_SLIDES = SLIDES[STEP_WIDTH-1:0];
            assign padding_next = step_reg >= STEP_SLIDES;
        end
    endgenerate

    // Columns that it takes, and that the one after it takes.
    wire [FILL_WIDTH-1:0] wanted = first_reg ? FILL_FIRST : padding_reg ? FILL_NONE : FILL_SLIDE;
    wire [FILL_WIDTH-1:0] wanted_next =
        step_last ? FILL_FIRST : padding_next ? FILL_NONE : FILL_SLIDE;

    // A column counts when it enters the queue, or a clock earlier with LATE, as the registers
    // follow a clock behind.
    reg  [1:0] read_reg        = 2'b0;
    reg  [1:0] column_done_reg = 2'b0;
    wire       column_came     = (LATE != 0) ? column_done_reg[0] : column_done_reg[1];

    // Columns in the queue beyond those wanted. Its sign bit says that some are missing.
    reg  [FILL_WIDTH-1:0] surplus_reg = -FILL_FIRST;
    wire                  load = (!valid_reg || window_ready) && !surplus_reg[FILL_WIDTH-1];

    // Columns that may still be read, less one: its sign bit says that there is no room. A load
    // makes room for what it takes, or with AHEAD = 0 for what the next load will take.
    reg  [FILL_WIDTH-1:0] room_reg = ROOM_START;
    wire [FILL_WIDTH-1:0] granted  = (AHEAD != 0) ? wanted : wanted_next;

    assign room         = !room_reg[FILL_WIDTH-1];
    assign window_valid = valid_reg;
    assign window_last  = last_reg;

    always @(posedge clk) begin
        read_reg        <= {read_reg[0], read};
        column_done_reg <= {column_done_reg[0], column_done};
        surplus_reg     <= surplus_reg - (load ? wanted_next : FILL_NONE)
                                       + {{(FILL_WIDTH-1){1'b0}}, column_came};
        room_reg        <= room_reg + (load ? granted : FILL_NONE) + {FILL_WIDTH{column_done}};
        if (!valid_reg || window_ready)
            valid_reg <= load;
        if (load) begin
            first_reg <= step_last;
            padding_reg <= !step_last && padding_next;
            last_reg  <= step_last && row_reg == ROW_LAST;
            step_reg  <= step_last ? {STEP_WIDTH{1'b0}} : step_reg + 1'b1;
            if (step_last)
                row_reg <= (row_reg == ROW_LAST) ? {ROW_WIDTH{1'b0}} : row_reg + 1'b1;
        end
        if (rst) begin
            read_reg        <= 2'b0;
            column_done_reg <= 2'b0;
            surplus_reg     <= -FILL_FIRST;
            room_reg        <= ROOM_START;
            valid_reg       <= 1'b0;
            first_reg       <= 1'b1;
            padding_reg       <= 1'b0;
            step_reg        <= 0;
            row_reg         <= 0;
        end
    end

    // The commands to the wide registers.
    reg  [QUEUE*COLUMN_BITS-1:0] queue_reg;   // oldest column lowest
    reg  [SPAN*COLUMN_BITS-1:0]  window_reg;
    wire                         take, take_first, take_padding;

    assign window = window_reg;

    // Where the columns wanted begin in the queue.
    localparam FIRST_AT = (AHEAD != 0) ? 0 : QUEUE - FIRST;
    localparam SLIDE_AT = (AHEAD != 0) ? 0 : QUEUE - SLIDE;

    genvar column;
    generate
        if (LATE != 0) begin : gen_late
            reg take_reg = 1'b0;
            reg take_first_reg, take_padding_reg;
            always @(posedge clk) begin
                take_reg       <= load;
                take_first_reg <= first_reg;
                take_padding_reg <= padding_reg;
            end
            assign take       = take_reg;
            assign take_first = take_first_reg;
            assign take_padding = take_padding_reg;
        end else begin : gen_at_once
            assign take       = load;
            assign take_first = first_reg;
            assign take_padding = padding_reg;
        end

        if (AHEAD == 0) begin : gen_push
            // A transfer takes all columns, so they move up until the last one is in its place.
            wire [QUEUE*COLUMN_BITS+UNIT_BITS-1:0] pushed = {unit, queue_reg};
            wire                                   unused = &{1'b0, pushed[UNIT_BITS-1:0]};
            always @(posedge clk)
                if (read_reg[1])
                    queue_reg <= pushed[QUEUE*COLUMN_BITS+UNIT_BITS-1:UNIT_BITS];
        end else begin : gen_queue
            // A column goes behind those that stay. What is further behind does not matter.
            reg  [FILL_WIDTH-1:0] fill_reg = 0;
            wire                  came = (LATE != 0) ? read_reg[0] : read_reg[1];
            always @(posedge clk) begin
                fill_reg <= (load ? surplus_reg : fill_reg) + {{(FILL_WIDTH-1){1'b0}}, came};
                if (rst)
                    fill_reg <= 0;
            end
            for (column = 0; column < QUEUE; column = column + 1) begin : gen_column
                localparam [FILL_WIDTH-1:0] PLACE = column;
                wire here  = came && (load ? surplus_reg == PLACE : fill_reg == PLACE);
                wire shift = load && !padding_reg;
                wire put, change;
                if (LATE != 0) begin : gen_late
                    reg put_reg = 1'b0, change_reg = 1'b0;
                    always @(posedge clk) begin
                        put_reg    <= here;
                        change_reg <= here || shift;
                    end
                    assign put    = put_reg;
                    assign change = change_reg;
                end else begin : gen_at_once
                    assign put    = here;
                    assign change = here || shift;
                end
                wire [COLUMN_BITS-1:0] after_first, after_slide;
                if (column + SLIDE < QUEUE) begin : gen_slide
                    assign after_slide = queue_reg[(column + SLIDE)*COLUMN_BITS +: COLUMN_BITS];
                end else begin : gen_slide_none
                    assign after_slide = unit;
                end
                if (column + FIRST < QUEUE) begin : gen_first
                    assign after_first = queue_reg[(column + FIRST)*COLUMN_BITS +: COLUMN_BITS];
                end else begin : gen_first_none
                    assign after_first = after_slide;
                end
                always @(posedge clk)
                    if (change)
                        queue_reg[column*COLUMN_BITS +: COLUMN_BITS] <=
                            put ? unit : take_first ? after_first : after_slide;
            end
        end

        for (column = 0; column < SPAN; column = column + 1) begin : gen_window
            wire [COLUMN_BITS-1:0] started, slid;
            if (column >= LEFT && column - LEFT < FIRST) begin : gen_started
                assign started = queue_reg[(FIRST_AT + column - LEFT)*COLUMN_BITS +: COLUMN_BITS];
            end else begin : gen_started_outside
                assign started = PAD;
            end
            if (column + SLIDE < SPAN) begin : gen_slid
                assign slid = window_reg[(column + SLIDE)*COLUMN_BITS +: COLUMN_BITS];
            end else begin : gen_slid_in
                assign slid = take_padding ? PAD
                    : queue_reg[(SLIDE_AT + column + SLIDE - SPAN)*COLUMN_BITS +: COLUMN_BITS];
            end
            always @(posedge clk)
                if (take)
                    window_reg[column*COLUMN_BITS +: COLUMN_BITS] <= take_first ? started : slid;
        end
    endgenerate

endmodule

`default_nettype wire
