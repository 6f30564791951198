// SPDX-License-Identifier: Apache-2.0
//
// Turns a raster stream of pixels into a stream of KERNEL x KERNEL windows, one a clock, for
// convolution and pooling. Padding costs no clock: taps outside the image are zeroed on the way,
// never streamed. Rows and images follow each other without draining.
//
//   pixel beats -> row banks -> column reader -> column queue -> window register -> windows
//
// - PIXELS horizontally adjacent pixels of an image make a column group; it is the unit of all that
//   follows. For PIXELS = 1 it is one column of the image.
// - Row r of the stream (rows of successive images counted on) is in bank r mod KERNEL, so that any
//   KERNEL rows are in different banks and a column of KERNEL rows is read in one clock.
// - The reader sweeps over the image once for each row of windows. It works ahead as far as the
//   queue holds, into the next sweep too: this is what hides the refill of the window at the end of
//   a row.
// - The window register takes the first window of a row at once from the queue, and slides for each
//   further one. Columns right of the image are zeros that nobody has to read.
//
// Window p of a transfer (OUT_PIXELS of them, adjacent in a row) has element (ky, kx, c) at byte
// p*K*K*C + (ky*K + kx)*C + c. m_window_last marks the image's last transfer.
// Equals the windows of model/reference.py. Latency: 4 clocks from the last pixel of a window.

`default_nettype none

module sliding_window #(
    parameter HEIGHT   = 28,        // rows of the image
    parameter WIDTH    = 28,        // columns of the image, a multiple of PIXELS
    parameter CHANNELS = 1,
    parameter KERNEL   = 3,         // rows and columns of a window
    parameter STRIDE   = 1,         // a multiple or a divisor of PIXELS
    parameter PADDING  = 0,         // rows and columns of zeros on each side, less than KERNEL
    parameter LANES    = CHANNELS,  // channels a beat; a divisor of CHANNELS if PIXELS > 1
    parameter PIXELS   = 1,         // pixels a beat
    parameter OUT_PIXELS   = (PIXELS > STRIDE) ? PIXELS / STRIDE : 1,
    parameter WINDOW_WIDTH = 8 * OUT_PIXELS * KERNEL * KERNEL * CHANNELS
) (
    input  wire                      clk,
    input  wire                      rst,
    input  wire [8*PIXELS*LANES-1:0] s_axis_tdata,
    input  wire                      s_axis_tvalid,
    output wire                      s_axis_tready,
    output wire [WINDOW_WIDTH-1:0]   m_window,
    output wire                      m_window_last,
    output wire                      m_window_valid,
    input  wire                      m_window_ready
);

    function integer at_least;
        input integer a, b;
        at_least = (a > b) ? a : b;
    endfunction

    function integer at_most;
        input integer a, b;
        at_most = (a < b) ? a : b;
    endfunction

    function integer ceil_div;
        input integer a, b;
        ceil_div = (a + b - 1) / b;
    endfunction

    function integer index_width;  // bits of a number from 0 to n - 1
        input integer n;
        index_width = (n > 1) ? $clog2(n) : 1;
    endfunction

    localparam OUT_HEIGHT = (HEIGHT + 2*PADDING - KERNEL) / STRIDE + 1;
    localparam OUT_WIDTH  = (WIDTH + 2*PADDING - KERNEL) / STRIDE + 1;

    // Everything below is in column groups.
    localparam STEPS   = OUT_WIDTH / OUT_PIXELS;      // transfers a row of windows
    localparam SLIDE   = OUT_PIXELS*STRIDE / PIXELS;  // groups that a step moves on
    localparam GROUPS  = WIDTH / PIXELS;              // groups a row of the image
    localparam LEFT    = ceil_div(PADDING, PIXELS);   // groups left of the image in a first window
    // Groups of the image that a first window takes, if the image has them; the first window's
    // rightmost column is (OUT_PIXELS-1)*STRIDE + KERNEL-1 - PADDING.
    localparam RIGHT   = ((OUT_PIXELS - 1)*STRIDE + KERNEL - 1 - PADDING) / PIXELS + 1;
    localparam SPAN    = LEFT + RIGHT;                // groups in the window register
    localparam FIRST   = at_most(RIGHT, GROUPS);      // groups that a first window takes
    localparam SLIDES  = at_most(STEPS - 1, ceil_div(at_least(GROUPS - RIGHT, 0), SLIDE));
    localparam SWEEP   = FIRST + SLIDES*SLIDE;        // groups to read a sweep
    localparam QUEUE   = at_least(FIRST, SLIDE) + 2;  // a window's and the reader's latency

    // Rows that the banks hold: those of a sweep and those that the next sweep adds; at the end of
    // an image, all that the next image's first sweep wants.
    localparam UNUSED_ROWS = (HEIGHT + 2*PADDING - KERNEL) % STRIDE;
    localparam SLOTS       = ceil_div(at_least(KERNEL + STRIDE, 2*KERNEL - 2*PADDING + UNUSED_ROWS),
                                      KERNEL);
    localparam ROWS        = KERNEL * SLOTS;
    localparam DEPTH       = SLOTS * GROUPS;
    localparam BEATS       = ceil_div(CHANNELS, LANES);  // beats a column group

    localparam BEAT_BITS   = 8 * PIXELS * LANES;
    localparam GROUP_BITS  = 8 * PIXELS * CHANNELS;   // a column group of one row
    localparam COLUMN_BITS = KERNEL * GROUP_BITS;     // a column group of all rows of a window

    localparam BANK_WIDTH = index_width(KERNEL);
    localparam ADDR_WIDTH = index_width(at_least(DEPTH, SWEEP + 1));
    localparam ROW_WIDTH  = index_width(OUT_HEIGHT);
    localparam STEP_WIDTH = index_width(STEPS);
    localparam FILL_WIDTH = $clog2(QUEUE + 1);
    // Row numbers relative to the current image, from -HEIGHT to HEIGHT + ROWS.
    localparam LINE_WIDTH = $clog2(HEIGHT + ROWS + KERNEL + STRIDE) + 2;

    generate
        if (WIDTH % PIXELS != 0) begin : gen_bad_width
            error_WIDTH_must_be_a_multiple_of_PIXELS error();
        end
        if (PIXELS % STRIDE != 0 && STRIDE % PIXELS != 0) begin : gen_bad_stride
            error_STRIDE_must_be_a_multiple_or_a_divisor_of_PIXELS error();
        end
        if (OUT_WIDTH % OUT_PIXELS != 0) begin : gen_bad_out_width
            error_the_windows_of_a_row_must_be_a_multiple_of_OUT_PIXELS error();
        end
        if (PIXELS > 1 && CHANNELS % LANES != 0) begin : gen_bad_lanes
            error_LANES_must_divide_CHANNELS_where_PIXELS_is_over_1 error();
        end
        if (PADDING >= KERNEL) begin : gen_bad_padding
            error_PADDING_must_be_less_than_KERNEL error();
        end
    endgenerate

    genvar bank, row, pixel, group, ky, kx;

    // ---------------------------------------------------------------- row writer

    wire                  beat = s_axis_tvalid && s_axis_tready;
    wire                  group_written;
    wire [GROUP_BITS-1:0] written;

    generate
        if (BEATS > 1) begin : gen_beats
            localparam COUNT_WIDTH = index_width(BEATS);
            localparam [COUNT_WIDTH-1:0] COUNT_LAST = BEATS[COUNT_WIDTH-1:0] - 1'b1;

            reg  [COUNT_WIDTH-1:0]         count_reg;
            reg  [(BEATS-1)*BEAT_BITS-1:0] held_reg;  // earlier beats of this group, first lowest
            wire [BEATS*BEAT_BITS-1:0]     all = {s_axis_tdata, held_reg};

            assign group_written = beat && count_reg == COUNT_LAST;

            always @(posedge clk) begin
                if (beat) begin
                    count_reg <= group_written ? {COUNT_WIDTH{1'b0}} : count_reg + 1'b1;
                    held_reg  <= all[BEATS*BEAT_BITS-1:BEAT_BITS];
                end
                if (rst)
                    count_reg <= 0;
            end

            for (pixel = 0; pixel < PIXELS; pixel = pixel + 1) begin : gen_pixel
                for (group = 0; group < BEATS; group = group + 1) begin : gen_beat
                    localparam USED = at_most(LANES, CHANNELS - group*LANES);
                    assign written[8*(pixel*CHANNELS + group*LANES) +: 8*USED] =
                        all[group*BEAT_BITS + 8*pixel*LANES +: 8*USED];
                end
            end
        end else begin : gen_beat
            assign group_written = beat;
            for (pixel = 0; pixel < PIXELS; pixel = pixel + 1) begin : gen_pixel
                assign written[8*pixel*CHANNELS +: 8*CHANNELS] =
                    s_axis_tdata[8*pixel*LANES +: 8*CHANNELS];
            end
        end
    endgenerate

    localparam [BANK_WIDTH-1:0] BANK_LAST  = KERNEL[BANK_WIDTH-1:0] - 1'b1;
    localparam [ADDR_WIDTH-1:0] GROUP_LAST = GROUPS[ADDR_WIDTH-1:0] - 1'b1;
    localparam [ADDR_WIDTH-1:0] SLOT_STEP  = GROUPS[ADDR_WIDTH-1:0];
    localparam [ADDR_WIDTH-1:0] SLOT_LAST  = DEPTH[ADDR_WIDTH-1:0] - SLOT_STEP;

    reg  [ADDR_WIDTH-1:0] write_col_reg;
    reg  [BANK_WIDTH-1:0] write_bank_reg;
    reg  [ADDR_WIDTH-1:0] write_slot_reg;  // address of its first column
    wire                  row_written = group_written && write_col_reg == GROUP_LAST;

    always @(posedge clk) begin
        if (group_written)
            write_col_reg <= row_written ? {ADDR_WIDTH{1'b0}} : write_col_reg + 1'b1;
        if (row_written) begin
            write_bank_reg <= (write_bank_reg == BANK_LAST) ? {BANK_WIDTH{1'b0}}
                                                            : write_bank_reg + 1'b1;
            if (write_bank_reg == BANK_LAST)
                write_slot_reg <= (write_slot_reg == SLOT_LAST) ? {ADDR_WIDTH{1'b0}}
                                                                : write_slot_reg + SLOT_STEP;
        end
        if (rst) begin
            write_col_reg  <= 0;
            write_bank_reg <= 0;
            write_slot_reg <= 0;
        end
    end

    // ---------------------------------------------------------------- column reader

    // Where the sweep's top row is in the banks; above the image it is a row of something older,
    // which the mask below hides. A sweep moves on by STRIDE rows, an image's last sweep to the
    // next image's first; all modulo ROWS.
    localparam TOP_START = (ROWS - PADDING) % ROWS;
    localparam TURN_ROWS = (HEIGHT - (OUT_HEIGHT - 1)*STRIDE + 2*PADDING*ROWS) % ROWS;
    localparam STEP_ROWS = STRIDE % ROWS;

    localparam START_BANK = TOP_START % KERNEL;
    localparam START_SLOT = TOP_START / KERNEL * GROUPS;

    reg  [ADDR_WIDTH-1:0]        read_col_reg;
    reg  [ROW_WIDTH-1:0]         sweep_reg;
    reg  [BANK_WIDTH-1:0]        top_bank_reg;
    reg  [ADDR_WIDTH-1:0]        top_slot_reg;
    reg  signed [LINE_WIDTH-1:0] top_reg;    // the sweep's top row in its image, from -PADDING
    reg  signed [LINE_WIDTH-1:0] lines_reg;  // rows written since the start of the sweep's image

    localparam [ADDR_WIDTH-1:0] SWEEP_LAST_COL = SWEEP[ADDR_WIDTH-1:0] - 1'b1;
    localparam [ROW_WIDTH-1:0] SWEEP_LAST     = OUT_HEIGHT[ROW_WIDTH-1:0] - 1'b1;
    localparam signed [LINE_WIDTH-1:0] LINES_HEIGHT  = HEIGHT[LINE_WIDTH-1:0];
    localparam signed [LINE_WIDTH-1:0] LINES_KERNEL  = KERNEL[LINE_WIDTH-1:0];
    localparam signed [LINE_WIDTH-1:0] LINES_PADDING = PADDING[LINE_WIDTH-1:0];
    localparam signed [LINE_WIDTH-1:0] LINES_STRIDE  = STRIDE[LINE_WIDTH-1:0];
    localparam signed [LINE_WIDTH-1:0] LINES_ROWS    = ROWS[LINE_WIDTH-1:0];

    wire read;
    wire sweep_done = read && read_col_reg == SWEEP_LAST_COL;
    wire image_done = sweep_done && sweep_reg == SWEEP_LAST;

    // A row may be written while the banks still hold every row from the sweep's top on.
    wire signed [LINE_WIDTH-1:0] oldest = top_reg[LINE_WIDTH-1] ? {LINE_WIDTH{1'b0}} : top_reg;
    assign s_axis_tready = lines_reg - oldest < LINES_ROWS;

    // A column may be read when the lowest row of the sweep that is in the image has it.
    wire signed [LINE_WIDTH-1:0] bottom  = top_reg + LINES_KERNEL;
    wire signed [LINE_WIDTH-1:0] newest  = ((bottom < LINES_HEIGHT) ? bottom : LINES_HEIGHT) - 1'b1;
    wire                         present = lines_reg > newest
                                        || (lines_reg == newest && write_col_reg > read_col_reg);
    wire                         outside = (SWEEP > GROUPS) && read_col_reg > GROUP_LAST;

    reg [FILL_WIDTH-1:0] promised_reg;  // columns queued or on their way
    localparam [FILL_WIDTH-1:0] QUEUE_FULL = QUEUE[FILL_WIDTH-1:0];
    assign read = (present || outside) && promised_reg != QUEUE_FULL;

    // The upper bits of the sums only tell that they wrap.
    /* verilator lint_off UNUSEDSIGNAL */
    function [ADDR_WIDTH+BANK_WIDTH-1:0] moved_on;  // (slot, bank) a number of rows further
        input [ADDR_WIDTH-1:0] slot;
        input [BANK_WIDTH-1:0] bank_in;
        input integer          rows;
        integer bank_sum, slot_sum;
        begin
            bank_sum = {{(32-BANK_WIDTH){1'b0}}, bank_in} + rows % KERNEL;
            slot_sum = {{(32-ADDR_WIDTH){1'b0}}, slot} + rows / KERNEL * GROUPS;
            if (bank_sum >= KERNEL) begin
                bank_sum = bank_sum - KERNEL;
                slot_sum = slot_sum + GROUPS;
            end
            if (slot_sum >= DEPTH)
                slot_sum = slot_sum - DEPTH;
            moved_on = {slot_sum[ADDR_WIDTH-1:0], bank_sum[BANK_WIDTH-1:0]};
        end
    endfunction
    /* verilator lint_on UNUSEDSIGNAL */

    always @(posedge clk) begin
        if (read)
            read_col_reg <= sweep_done ? {ADDR_WIDTH{1'b0}} : read_col_reg + 1'b1;
        if (sweep_done) begin
            sweep_reg <= image_done ? {ROW_WIDTH{1'b0}} : sweep_reg + 1'b1;
            top_reg   <= image_done ? -LINES_PADDING : top_reg + LINES_STRIDE;
            {top_slot_reg, top_bank_reg} <= image_done
                ? moved_on(top_slot_reg, top_bank_reg, TURN_ROWS)
                : moved_on(top_slot_reg, top_bank_reg, STEP_ROWS);
        end
        lines_reg <= lines_reg + (row_written ? {{(LINE_WIDTH-1){1'b0}}, 1'b1} : {LINE_WIDTH{1'b0}})
                               - (image_done ? LINES_HEIGHT : {LINE_WIDTH{1'b0}});
        if (rst) begin
            read_col_reg <= 0;
            sweep_reg    <= 0;
            top_reg      <= -LINES_PADDING;
            top_bank_reg <= START_BANK[BANK_WIDTH-1:0];
            top_slot_reg <= START_SLOT[ADDR_WIDTH-1:0];
            lines_reg    <= 0;
        end
    end

    // The row banks.
    wire [KERNEL*GROUP_BITS-1:0] bank_data;

    generate
        for (bank = 0; bank < KERNEL; bank = bank + 1) begin : gen_bank
            localparam [BANK_WIDTH-1:0] BANK = bank;
            wire [ADDR_WIDTH-1:0] slot;
            if (bank == KERNEL - 1) begin : gen_last
                assign slot = top_slot_reg;
            end else begin : gen_wrap
                // Banks below the top row's have wrapped into the next slot.
                wire [ADDR_WIDTH-1:0] next_slot = (top_slot_reg == SLOT_LAST)
                    ? {ADDR_WIDTH{1'b0}} : top_slot_reg + SLOT_STEP;
                assign slot = (top_bank_reg > BANK) ? next_slot : top_slot_reg;
            end
            line_memory #(
                .WIDTH(GROUP_BITS), .DEPTH(DEPTH), .ADDR_WIDTH(ADDR_WIDTH)
            ) rows (
                .clk(clk),
                .write(group_written && write_bank_reg == BANK),
                .write_addr(write_slot_reg + write_col_reg),
                .write_data(written),
                .read(read),
                .read_addr(slot + read_col_reg),
                .read_data(bank_data[bank*GROUP_BITS +: GROUP_BITS])
            );
        end
    endgenerate

    // One clock later: the banks' rows in the order of the window, zero outside the image.
    reg                     arrived_reg;
    reg  [BANK_WIDTH-1:0]   rotate_reg;
    reg  [KERNEL-1:0]       inside_reg;
    wire [COLUMN_BITS-1:0]  column;

    always @(posedge clk) begin
        arrived_reg <= read;
        if (read)
            rotate_reg <= top_bank_reg;
        if (rst)
            arrived_reg <= 1'b0;
    end

    generate
        for (row = 0; row < KERNEL; row = row + 1) begin : gen_row
            localparam signed [LINE_WIDTH-1:0] ROW = row;
            wire signed [LINE_WIDTH-1:0] line = top_reg + ROW;
            always @(posedge clk)
                if (read)
                    inside_reg[row] <= !line[LINE_WIDTH-1] && line < LINES_HEIGHT && !outside;

            // Row `row` is in bank (top bank + row) mod KERNEL.
            reg [GROUP_BITS-1:0] selected;
            integer i;
            always @* begin
                selected = {GROUP_BITS{1'b0}};
                for (i = 0; i < KERNEL; i = i + 1)
                    if ({{(32-BANK_WIDTH){1'b0}}, rotate_reg} == i)
                        selected = bank_data[((row + i) % KERNEL)*GROUP_BITS +: GROUP_BITS];
            end
            assign column[row*GROUP_BITS +: GROUP_BITS] =
                inside_reg[row] ? selected : {GROUP_BITS{1'b0}};
        end
    endgenerate

    // ---------------------------------------------------------------- column queue and window

    localparam [STEP_WIDTH-1:0] STEP_LAST   = STEPS[STEP_WIDTH-1:0] - 1'b1;
    localparam [STEP_WIDTH-1:0] STEP_SLIDES = SLIDES[STEP_WIDTH-1:0];
    localparam [FILL_WIDTH-1:0] FILL_FIRST  = FIRST[FILL_WIDTH-1:0];
    localparam [FILL_WIDTH-1:0] FILL_SLIDE  = SLIDE[FILL_WIDTH-1:0];

    reg  [QUEUE*COLUMN_BITS-1:0] queue_reg;   // oldest column lowest
    reg  [FILL_WIDTH-1:0]        fill_reg;
    reg  [SPAN*COLUMN_BITS-1:0]  window_reg;  // leftmost column lowest
    reg  [STEP_WIDTH-1:0]        step_reg;    // of the window to load next
    reg  [ROW_WIDTH-1:0]         out_row_reg;
    reg                          valid_reg, last_reg;

    // Where PADDING is no multiple of PIXELS, some columns of the register are of no window.
    wire unused_columns = &{1'b0, window_reg};

    // The window to load next is a row's first, slides on by columns of the image, or by zeros.
    wire first = step_reg == 0;
    wire zeros;
    generate
        if (SLIDES < STEPS - 1) begin : gen_zeros
            assign zeros = step_reg > STEP_SLIDES;
        end else begin : gen_no_zeros
            assign zeros = 1'b0;
        end
    endgenerate
    wire [FILL_WIDTH-1:0] wanted = first ? FILL_FIRST : zeros ? {FILL_WIDTH{1'b0}} : FILL_SLIDE;
    wire load = (!valid_reg || m_window_ready) && fill_reg >= wanted;
    wire [FILL_WIDTH-1:0] taken = load ? wanted : {FILL_WIDTH{1'b0}};
    wire [FILL_WIDTH-1:0] kept  = fill_reg - taken;

    assign m_window_valid = valid_reg;
    assign m_window_last  = last_reg;

    always @(posedge clk) begin
        fill_reg     <= kept + {{(FILL_WIDTH-1){1'b0}}, arrived_reg};
        promised_reg <= promised_reg - taken + {{(FILL_WIDTH-1){1'b0}}, read};
        if (!valid_reg || m_window_ready)
            valid_reg <= load;
        if (load) begin
            last_reg <= step_reg == STEP_LAST && out_row_reg == SWEEP_LAST;
            step_reg <= (step_reg == STEP_LAST) ? {STEP_WIDTH{1'b0}} : step_reg + 1'b1;
            if (step_reg == STEP_LAST)
                out_row_reg <= (out_row_reg == SWEEP_LAST) ? {ROW_WIDTH{1'b0}} : out_row_reg + 1'b1;
        end
        if (rst) begin
            fill_reg     <= 0;
            promised_reg <= 0;
            valid_reg    <= 1'b0;
            step_reg     <= 0;
            out_row_reg  <= 0;
        end
    end

    generate
        for (group = 0; group < QUEUE; group = group + 1) begin : gen_queue
            localparam [FILL_WIDTH-1:0] PLACE = group;
            wire [COLUMN_BITS-1:0] after_first, after_slide;
            if (group + FIRST < QUEUE) begin : gen_first
                assign after_first = queue_reg[(group + FIRST)*COLUMN_BITS +: COLUMN_BITS];
            end else begin : gen_first_none
                assign after_first = {COLUMN_BITS{1'b0}};
            end
            if (group + SLIDE < QUEUE) begin : gen_slide
                assign after_slide = queue_reg[(group + SLIDE)*COLUMN_BITS +: COLUMN_BITS];
            end else begin : gen_slide_none
                assign after_slide = {COLUMN_BITS{1'b0}};
            end
            always @(posedge clk)
                if (arrived_reg && kept == PLACE)
                    queue_reg[group*COLUMN_BITS +: COLUMN_BITS] <= column;
                else if (load && !zeros)
                    queue_reg[group*COLUMN_BITS +: COLUMN_BITS] <=
                        first ? after_first : after_slide;
        end

        for (group = 0; group < SPAN; group = group + 1) begin : gen_window
            wire [COLUMN_BITS-1:0] started, slid;
            if (group >= LEFT && group - LEFT < FIRST) begin : gen_started
                assign started = queue_reg[(group - LEFT)*COLUMN_BITS +: COLUMN_BITS];
            end else begin : gen_started_outside
                assign started = {COLUMN_BITS{1'b0}};
            end
            if (group + SLIDE < SPAN) begin : gen_slid
                assign slid = window_reg[(group + SLIDE)*COLUMN_BITS +: COLUMN_BITS];
            end else begin : gen_slid_in
                assign slid = zeros ? {COLUMN_BITS{1'b0}}
                    : queue_reg[(group + SLIDE - SPAN)*COLUMN_BITS +: COLUMN_BITS];
            end
            always @(posedge clk)
                if (load)
                    window_reg[group*COLUMN_BITS +: COLUMN_BITS] <= first ? started : slid;
        end

        // Column x of window p is LEFT*PIXELS + p*STRIDE + x - PADDING columns into the register.
        for (pixel = 0; pixel < OUT_PIXELS; pixel = pixel + 1) begin : gen_out
            for (kx = 0; kx < KERNEL; kx = kx + 1) begin : gen_kx
                localparam COL = LEFT*PIXELS + pixel*STRIDE + kx - PADDING;
                for (ky = 0; ky < KERNEL; ky = ky + 1) begin : gen_ky
                    assign m_window[8*CHANNELS*((pixel*KERNEL + ky)*KERNEL + kx) +: 8*CHANNELS] =
                        window_reg[(COL / PIXELS)*COLUMN_BITS + ky*GROUP_BITS
                                   + 8*CHANNELS*(COL % PIXELS) +: 8*CHANNELS];
                end
            end
        end
    endgenerate

endmodule

`default_nettype wire
