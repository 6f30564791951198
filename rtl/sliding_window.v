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
// - Where every window is used for long (PACE), less does: the queue holds no more than the next
//   window's columns, and where there is even time to read them row by row, one bank holds all rows.
//
// What is ahead of what is kept in signed counters, of which the sign alone is looked at; what they
// move on by at the end of a sweep comes from tables, a sweep early.
//
// Window p of a transfer (OUT_PIXELS of them, adjacent in a row) has element (ky, kx, c) at byte
// p*K*K*C + (ky*K + kx)*C + c. m_window_last marks the image's last transfer.
//
// Where LATE is set, m_window (it alone) holds a window in the clock after the handshake that takes
// it. Then what shifts the wide registers comes from registers, and not from m_window_ready.
//
// Equals the windows of model/reference.py. Latency: 5 clocks from the last pixel of a window to
// m_window (KERNEL - 1 more where columns are read row by row).

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
    parameter PACE     = 1,         // clocks for which every transfer is used, or fewer
    parameter LATE     = 0,         // m_window follows its handshake by a clock
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
    localparam MOST    = at_least(FIRST, SLIDE);      // groups that a transfer takes at once

    // A transfer's columns are there READER clocks after those of the one before were taken, if
    // they are read at once. Where transfers are used for longer than that, nothing is read ahead.
    localparam READER     = (LATE != 0) ? 2 : 3;
    localparam ROW_BY_ROW = PACE >= KERNEL*MOST + READER;
    localparam UNHURRIED  = PACE >= MOST + READER;
    localparam QUEUE      = UNHURRIED ? MOST : MOST + READER;

    // Rows that the banks hold: those of a sweep and those that the next sweep adds; at the end of
    // an image, all that the next image's first sweep wants.
    localparam UNUSED_ROWS = (HEIGHT + 2*PADDING - KERNEL) % STRIDE;
    localparam SLOTS       = ceil_div(at_least(KERNEL + STRIDE, 2*KERNEL - 2*PADDING + UNUSED_ROWS),
                                      KERNEL);
    localparam ROWS        = KERNEL * SLOTS;
    localparam BEATS       = ceil_div(CHANNELS, LANES);  // beats a column group

    localparam BEAT_BITS   = 8 * PIXELS * LANES;
    localparam GROUP_BITS  = 8 * PIXELS * CHANNELS;   // a column group of one row
    localparam COLUMN_BITS = KERNEL * GROUP_BITS;     // a column group of all rows of a window

    localparam BANKS = ROW_BY_ROW ? 1 : KERNEL;
    localparam DEPTH = ROWS / BANKS * GROUPS;         // of a bank
    localparam UNIT  = ROW_BY_ROW ? GROUP_BITS : COLUMN_BITS;  // what is read in a clock

    localparam BANK_WIDTH = index_width(BANKS);
    localparam ADDR_WIDTH = index_width(at_least(DEPTH, SWEEP + 1));
    localparam LINE_WIDTH = index_width(ROWS);
    localparam BANK_ROW_WIDTH = index_width(KERNEL);
    localparam ROW_WIDTH  = index_width(OUT_HEIGHT);
    localparam COL_WIDTH  = index_width(at_least(GROUPS, SWEEP));
    localparam STEP_WIDTH = index_width(STEPS);
    localparam FILL_WIDTH = $clog2(QUEUE + 1) + 1;    // signed
    localparam FREE_WIDTH = $clog2(ROWS + STRIDE + 1) + 1;  // signed, rows
    localparam LEAD_WIDTH = $clog2(ROWS*GROUPS + 1) + 1;  // signed, groups

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

    genvar bank, row, line, sweep, pixel, group, ky, kx;

    // ---------------------------------------------------------------- row writer

    wire                  beat = s_axis_tvalid && s_axis_tready;
    wire                  group_written;
    wire [GROUP_BITS-1:0] written;

    generate
        if (BEATS > 1) begin : gen_beats
            localparam COUNT_WIDTH = index_width(BEATS);
            localparam [COUNT_WIDTH-1:0] COUNT_LAST = BEATS[COUNT_WIDTH-1:0] - 1'b1;

            reg  [COUNT_WIDTH-1:0]         count_reg = 0;
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

    // A bank holds every BANKS-th row, one row after the other.
    localparam [COL_WIDTH-1:0]  GROUP_LAST = GROUPS[COL_WIDTH-1:0] - 1'b1;
    localparam [ADDR_WIDTH-1:0] ADDR_LAST  = DEPTH[ADDR_WIDTH-1:0] - 1'b1;

    reg  [COL_WIDTH-1:0]  write_col_reg  = 0;
    reg  [BANKS-1:0]      write_bank_reg = 1;  // one-hot
    reg  [ADDR_WIDTH-1:0] write_row_reg  = 0;  // address of the row's first group
    reg  [ADDR_WIDTH-1:0] write_addr_reg = 0;
    wire                  row_written    = group_written && write_col_reg == GROUP_LAST;
    wire                  write_bank_last = write_bank_reg[BANKS-1];
    wire [ADDR_WIDTH-1:0] write_addr_next = (write_addr_reg == ADDR_LAST) ? {ADDR_WIDTH{1'b0}}
                                                                         : write_addr_reg + 1'b1;
    wire [2*BANKS-1:0]    write_bank_next = {write_bank_reg, write_bank_reg} << 1;
    wire                  unused_bank     = &{1'b0, write_bank_next[BANKS-1:0]};

    always @(posedge clk) begin
        if (group_written) begin
            write_col_reg  <= row_written ? {COL_WIDTH{1'b0}} : write_col_reg + 1'b1;
            write_addr_reg <= (row_written && !write_bank_last) ? write_row_reg : write_addr_next;
        end
        if (row_written) begin
            write_bank_reg <= write_bank_next[2*BANKS-1:BANKS];
            if (write_bank_last)
                write_row_reg <= write_addr_next;
        end
        if (rst) begin
            write_col_reg  <= 0;
            write_bank_reg <= 1;
            write_row_reg  <= 0;
            write_addr_reg <= 0;
        end
    end

    // ---------------------------------------------------------------- sweeps

    // The top row of a sweep in its image. Rows above the image are of something older in the
    // banks, which a mask hides. Where a row is in the banks counts modulo ROWS.
    function integer top_row;
        input integer number;
        top_row = number*STRIDE - PADDING;
    endfunction

    // The lowest row of a sweep that is in the image: when that has a column, it may be read.
    function integer newest_row;
        input integer number;
        newest_row = at_most(top_row(number) + KERNEL, HEIGHT) - 1;
    endfunction

    localparam TOP_START = (ROWS - PADDING) % ROWS;
    localparam STEP_ROWS = STRIDE % ROWS;
    localparam TURN_ROWS = (HEIGHT - (OUT_HEIGHT - 1)*STRIDE + 2*PADDING*ROWS) % ROWS;
    localparam COLUMNS   = at_most(SWEEP, GROUPS);  // groups of the image that a sweep reads

    // Of a sweep: which rows of the window are in the image, how many rows nobody needs after it,
    // and how far it is from its last column to the first of the next sweep, in groups, negative.
    localparam SWEEP_BITS = KERNEL + FREE_WIDTH + LEAD_WIDTH;
    localparam SWEEP_SIZE = 1 << $clog2(SWEEP_BITS + 1);

    // Of the integers in these functions only as many bits are used as their values need.
    /* verilator lint_off UNUSEDSIGNAL */
    function [SWEEP_BITS-1:0] sweep_word;
        input integer number;
        integer       i, needed, freed, back;
        reg           last;
        begin
            last   = number == OUT_HEIGHT - 1;
            needed = last ? HEIGHT : at_least(top_row(number + 1), 0);
            freed  = needed - at_least(top_row(number), 0);
            needed = last ? HEIGHT + newest_row(0) : newest_row(number + 1);
            back   = COLUMNS - 1 - (needed - newest_row(number))*GROUPS;
            for (i = 0; i < KERNEL; i = i + 1)
                sweep_word[i] = top_row(number) + i >= 0 && top_row(number) + i < HEIGHT;
            sweep_word[KERNEL +: FREE_WIDTH]              = freed[FREE_WIDTH-1:0];
            sweep_word[KERNEL + FREE_WIDTH +: LEAD_WIDTH] = back[LEAD_WIDTH-1:0];
        end
    endfunction

    // Of a place of its top row in the banks: the address there, the address of the rows that have
    // wrapped into the next slot, the bank, and the next sweep's place in this image or in the next.
    localparam LINE_BITS = 2*ADDR_WIDTH + BANK_WIDTH + 2*LINE_WIDTH;
    localparam LINE_SIZE = 1 << $clog2(LINE_BITS + 1);

    function [LINE_BITS-1:0] line_word;
        input integer place;
        integer       top, below, number, stepped, turned;
        begin
            top       = place / BANKS * GROUPS;
            below     = (top + GROUPS) % DEPTH;
            number    = place % BANKS;
            stepped   = (place + STEP_ROWS) % ROWS;
            turned    = (place + TURN_ROWS) % ROWS;
            line_word = {turned[LINE_WIDTH-1:0], stepped[LINE_WIDTH-1:0], number[BANK_WIDTH-1:0],
                         below[ADDR_WIDTH-1:0], top[ADDR_WIDTH-1:0]};
        end
    endfunction
    /* verilator lint_on UNUSEDSIGNAL */

    wire [OUT_HEIGHT*SWEEP_SIZE-1:0] sweep_table;
    wire [ROWS*LINE_SIZE-1:0]        line_table;

    generate
        for (sweep = 0; sweep < OUT_HEIGHT; sweep = sweep + 1) begin : gen_sweep
            localparam [SWEEP_BITS-1:0] WORD = sweep_word(sweep);
            assign sweep_table[sweep*SWEEP_SIZE +: SWEEP_SIZE] =
                {{(SWEEP_SIZE-SWEEP_BITS){1'b0}}, WORD};
        end
        for (line = 0; line < ROWS; line = line + 1) begin : gen_line
            localparam [LINE_BITS-1:0] WORD = line_word(line);
            assign line_table[line*LINE_SIZE +: LINE_SIZE] = {{(LINE_SIZE-LINE_BITS){1'b0}}, WORD};
        end
    endgenerate

    // The words of the next sweep are looked up by registers, and taken when the reader gets there.
    localparam [SWEEP_BITS-1:0] SWEEP_START = sweep_word(0);
    localparam [LINE_BITS-1:0]  LINE_START  = line_word(TOP_START);
    localparam [BANK_WIDTH-1:0] BANK_START  = LINE_START[2*ADDR_WIDTH +: BANK_WIDTH];
    localparam [ROW_WIDTH-1:0]  SWEEP_LAST  = OUT_HEIGHT[ROW_WIDTH-1:0] - 1'b1;
    localparam [ROW_WIDTH-1:0]  SWEEP_NEXT  = (OUT_HEIGHT > 1) ? 1 : 0;
    localparam [LINE_WIDTH-1:0] LINE_NEXT   =
        LINE_START[2*ADDR_WIDTH + BANK_WIDTH + ((OUT_HEIGHT > 1) ? 0 : LINE_WIDTH) +: LINE_WIDTH];

    wire                   sweep_done;
    reg  [ROW_WIDTH-1:0]   next_sweep_reg = SWEEP_NEXT;
    reg  [LINE_WIDTH-1:0]  next_line_reg  = LINE_NEXT;
    reg  [SWEEP_BITS-1:0]  sweep_reg      = SWEEP_START;
    reg  [BANK_WIDTH-1:0]  top_bank_reg   = BANK_START;

    wire [SWEEP_BITS-1:0]  next_sweep = sweep_table[next_sweep_reg*SWEEP_SIZE +: SWEEP_BITS];
    wire [LINE_BITS-1:0]   next_line  = line_table[next_line_reg*LINE_SIZE +: LINE_BITS];
    wire [ADDR_WIDTH-1:0]  next_top, next_below;
    wire [BANK_WIDTH-1:0]  next_bank;
    wire [LINE_WIDTH-1:0]  stepped, turned;
    assign {turned, stepped, next_bank, next_below, next_top} = next_line;

    wire [KERNEL-1:0]     in_image;
    wire [FREE_WIDTH-1:0] freed;
    wire [LEAD_WIDTH-1:0] back;
    assign {back, freed, in_image} = sweep_reg;

    always @(posedge clk) begin
        if (sweep_done) begin
            next_sweep_reg <= (next_sweep_reg == SWEEP_LAST) ? {ROW_WIDTH{1'b0}}
                                                             : next_sweep_reg + 1'b1;
            next_line_reg  <= (next_sweep_reg == SWEEP_LAST) ? turned : stepped;
            sweep_reg      <= next_sweep;
            top_bank_reg   <= next_bank;
        end
        if (rst) begin
            next_sweep_reg <= SWEEP_NEXT;
            next_line_reg  <= LINE_NEXT;
            sweep_reg      <= SWEEP_START;
            top_bank_reg   <= BANK_START;
        end
    end

    // ---------------------------------------------------------------- column reader

    localparam [COL_WIDTH-1:0]  SWEEP_LAST_COL = SWEEP[COL_WIDTH-1:0] - 1'b1;
    localparam [FREE_WIDTH-1:0] FREE_START = ROWS[FREE_WIDTH-1:0] - 1'b1;
    localparam MISSING = newest_row(0)*GROUPS + 1;
    localparam ALLOWED = UNHURRIED ? FIRST : QUEUE;
    localparam [LEAD_WIDTH-1:0] LEAD_START = -MISSING[LEAD_WIDTH-1:0];
    localparam [FILL_WIDTH-1:0] ROOM_START = ALLOWED[FILL_WIDTH-1:0] - 1'b1;

    // One less than: the rows that may be written, the groups written beyond those that the next
    // column needs, the columns that the queue has room for. A sign says that there is none.
    reg  [FREE_WIDTH-1:0] free_reg = FREE_START;
    reg  [LEAD_WIDTH-1:0] lead_reg = LEAD_START;
    reg  [FILL_WIDTH-1:0] room_reg = ROOM_START;
    assign s_axis_tready = !free_reg[FREE_WIDTH-1];

    // Columns right of the image need nothing, and so no more than the last one in it.
    reg  [COL_WIDTH-1:0]  read_col_reg = 0;
    wire                  outside     = SWEEP > GROUPS && read_col_reg > GROUP_LAST;
    wire                  sweep_end   = read_col_reg == SWEEP_LAST_COL;
    wire                  image_end   = SWEEP > GROUPS && read_col_reg >= GROUP_LAST;
    wire [LEAD_WIDTH-1:0] move = sweep_end ? back
                               : image_end ? {LEAD_WIDTH{1'b0}} : {LEAD_WIDTH{1'b1}};

    wire read = !lead_reg[LEAD_WIDTH-1] && !room_reg[FILL_WIDTH-1];
    wire row_last;                        // of those that are read one by one
    wire column_done = read && row_last;
    assign sweep_done = column_done && sweep_end;

    always @(posedge clk) begin
        free_reg <= free_reg + (sweep_done ? freed : {FREE_WIDTH{1'b0}})
                             + {FREE_WIDTH{row_written}};
        lead_reg <= lead_reg + (column_done ? move : {LEAD_WIDTH{1'b0}})
                             + {{(LEAD_WIDTH-1){1'b0}}, group_written};
        if (column_done)
            read_col_reg <= sweep_end ? {COL_WIDTH{1'b0}} : read_col_reg + 1'b1;
        if (rst) begin
            free_reg     <= FREE_START;
            lead_reg     <= LEAD_START;
            read_col_reg <= 0;
        end
    end

    // The row banks, and a register behind them, as block RAM answers late.
    localparam [ADDR_WIDTH-1:0] TOP_ADDR_START   = LINE_START[0 +: ADDR_WIDTH];
    localparam [ADDR_WIDTH-1:0] BELOW_ADDR_START = LINE_START[ADDR_WIDTH +: ADDR_WIDTH];

    reg  [ADDR_WIDTH-1:0] top_addr_reg = TOP_ADDR_START;  // the top row's, at this column
    wire [BANKS*ADDR_WIDTH-1:0] read_addr;
    wire [BANKS*GROUP_BITS-1:0] bank_data;
    reg  [BANKS*GROUP_BITS-1:0] data_reg;

    always @(posedge clk) begin
        if (column_done)
            top_addr_reg <= sweep_end ? next_top : top_addr_reg + 1'b1;
        if (rst)
            top_addr_reg <= TOP_ADDR_START;
        data_reg <= bank_data;
    end

    generate
        for (bank = 0; bank < BANKS; bank = bank + 1) begin : gen_bank
            line_memory #(
                .WIDTH(GROUP_BITS), .DEPTH(DEPTH), .ADDR_WIDTH(ADDR_WIDTH)
            ) rows (
                .clk(clk),
                .write(group_written && write_bank_reg[bank]),
                .write_addr(write_addr_reg),
                .write_data(written),
                .read(read),
                .read_addr(read_addr[bank*ADDR_WIDTH +: ADDR_WIDTH]),
                .read_data(bank_data[bank*GROUP_BITS +: GROUP_BITS])
            );
        end
    endgenerate

    // What was read, two clocks later, zero outside the image: rows in the order of the window.
    reg              read_reg    = 1'b0;
    reg              arrived_reg = 1'b0;
    reg              read_column_reg, column_reg;  // and with it a column is complete
    wire [UNIT-1:0]  unit;

    always @(posedge clk) begin
        read_reg        <= read;
        arrived_reg     <= read_reg;
        read_column_reg <= row_last;
        column_reg      <= read_column_reg;
        if (rst) begin
            read_reg    <= 1'b0;
            arrived_reg <= 1'b0;
        end
    end

    generate
        if (ROW_BY_ROW) begin : gen_row_by_row
            localparam [BANK_ROW_WIDTH-1:0] ROW_LAST = KERNEL[BANK_ROW_WIDTH-1:0] - 1'b1;
            localparam [ADDR_WIDTH-1:0]     ROW_STEP = GROUPS[ADDR_WIDTH-1:0];
            // From a row to the one below where it is in the bank's first row again.
            localparam [ADDR_WIDTH-1:0]     LAST_ROW = DEPTH[ADDR_WIDTH-1:0] - ROW_STEP;

            reg  [BANK_ROW_WIDTH-1:0] row_reg = 0;
            reg  [ADDR_WIDTH-1:0]     addr_reg = TOP_ADDR_START;
            reg                       inside_reg, masked_reg;
            wire                      unused = &{1'b0, next_below, next_bank, top_bank_reg};

            assign row_last  = row_reg == ROW_LAST;
            assign read_addr = addr_reg;
            assign unit      = masked_reg ? data_reg : {UNIT{1'b0}};

            always @(posedge clk) begin
                if (read) begin
                    row_reg <= row_last ? {BANK_ROW_WIDTH{1'b0}} : row_reg + 1'b1;
                    if (row_last)
                        addr_reg <= sweep_end ? next_top : top_addr_reg + 1'b1;
                    else
                        addr_reg <= (addr_reg >= LAST_ROW) ? addr_reg - LAST_ROW
                                                           : addr_reg + ROW_STEP;
                end
                inside_reg <= in_image[row_reg] && !outside;
                masked_reg <= inside_reg;
                if (rst) begin
                    row_reg  <= 0;
                    addr_reg <= TOP_ADDR_START;
                end
            end
        end else begin : gen_column
            reg  [ADDR_WIDTH-1:0] below_addr_reg = BELOW_ADDR_START;
            reg  [BANK_WIDTH-1:0] bank_reg;    // of the top row
            reg  [KERNEL-1:0]     inside_reg;

            assign row_last = 1'b1;

            always @(posedge clk) begin
                if (read)
                    below_addr_reg <= sweep_end ? next_below : below_addr_reg + 1'b1;
                bank_reg   <= top_bank_reg;
                inside_reg <= outside ? {KERNEL{1'b0}} : in_image;
                if (rst)
                    below_addr_reg <= BELOW_ADDR_START;
            end

            for (row = 0; row < KERNEL; row = row + 1) begin : gen_row
                localparam [BANK_WIDTH-1:0] BANK = row;
                if (row == KERNEL - 1) begin : gen_last
                    assign read_addr[row*ADDR_WIDTH +: ADDR_WIDTH] = top_addr_reg;
                end else begin : gen_wrap
                    // Rows in banks below the top row's have wrapped into the next slot.
                    reg wrapped_reg = BANK_START > BANK;
                    always @(posedge clk) begin
                        if (sweep_done)
                            wrapped_reg <= next_bank > BANK;
                        if (rst)
                            wrapped_reg <= BANK_START > BANK;
                    end
                    assign read_addr[row*ADDR_WIDTH +: ADDR_WIDTH] =
                        wrapped_reg ? below_addr_reg : top_addr_reg;
                end

                // Row `row` of the window is in bank (top bank + row) mod KERNEL. One bit for each
                // top bank selects it, none where the row is outside the image.
                reg [KERNEL-1:0]     select_reg;
                reg [GROUP_BITS-1:0] selected;
                integer i;
                always @(posedge clk)
                    for (i = 0; i < KERNEL; i = i + 1)
                        select_reg[i] <= inside_reg[row]
                            && {{(32-BANK_WIDTH){1'b0}}, bank_reg} == i;
                always @* begin
                    selected = {GROUP_BITS{1'b0}};
                    for (i = 0; i < KERNEL; i = i + 1)
                        selected = selected
                            | ({GROUP_BITS{select_reg[i]}}
                               & data_reg[((row + i) % KERNEL)*GROUP_BITS +: GROUP_BITS]);
                end
                assign unit[row*GROUP_BITS +: GROUP_BITS] = selected;
            end
        end
    endgenerate

    // ---------------------------------------------------------------- column queue and window

    localparam [STEP_WIDTH-1:0] STEP_LAST   = STEPS[STEP_WIDTH-1:0] - 1'b1;
    localparam [STEP_WIDTH-1:0] STEP_SLIDES = SLIDES[STEP_WIDTH-1:0];
    localparam [FILL_WIDTH-1:0] FILL_FIRST  = FIRST[FILL_WIDTH-1:0];
    localparam [FILL_WIDTH-1:0] FILL_SLIDE  = SLIDE[FILL_WIDTH-1:0];
    localparam [FILL_WIDTH-1:0] FILL_ZEROS  = 0;

    reg  [QUEUE*COLUMN_BITS-1:0] queue_reg;      // older columns lower
    reg  [SPAN*COLUMN_BITS-1:0]  window_reg;     // leftmost column lowest
    reg  [STEP_WIDTH-1:0]        step_reg  = 0;  // of the window to load next
    reg  [ROW_WIDTH-1:0]         out_row_reg = 0;
    reg                          valid_reg = 1'b0;
    reg                          last_reg;

    // Where PADDING is no multiple of PIXELS, some columns of the register are of no window.
    wire unused_columns = &{1'b0, window_reg};

    // The window to load next is a row's first, slides on by columns of the image, or by zeros.
    reg                   first_reg = 1'b1;
    reg                   zeros_reg = 1'b0;
    wire                  step_last  = step_reg == STEP_LAST;
    wire                  next_zeros = SLIDES < STEPS - 1 && step_reg >= STEP_SLIDES;
    wire [FILL_WIDTH-1:0] wanted      = first_reg ? FILL_FIRST : zeros_reg ? FILL_ZEROS : FILL_SLIDE;
    wire [FILL_WIDTH-1:0] next_wanted = step_last ? FILL_FIRST : next_zeros ? FILL_ZEROS : FILL_SLIDE;

    // What has been read counts when it gets into the queue, and where the registers follow a clock
    // behind, a clock earlier.
    wire came        = (LATE != 0) ? read_reg : arrived_reg;
    wire column_came = came && ((LATE != 0) ? read_column_reg : column_reg);

    // Columns in the queue beyond those wanted: negative where some are missing.
    reg  [FILL_WIDTH-1:0] surplus_reg = -FILL_FIRST;
    wire                  load = (!valid_reg || m_window_ready) && !surplus_reg[FILL_WIDTH-1];

    // What a window takes makes room; or the next window's columns may be read when it is loaded.
    wire [FILL_WIDTH-1:0] granted = UNHURRIED ? next_wanted : wanted;

    assign m_window_valid = valid_reg;
    assign m_window_last  = last_reg;

    always @(posedge clk) begin
        surplus_reg <= surplus_reg - (load ? next_wanted : FILL_ZEROS)
                                   + {{(FILL_WIDTH-1){1'b0}}, column_came};
        room_reg    <= room_reg + (load ? granted : FILL_ZEROS) + {FILL_WIDTH{column_done}};
        if (!valid_reg || m_window_ready)
            valid_reg <= load;
        if (load) begin
            first_reg <= step_last;
            zeros_reg <= !step_last && next_zeros;
            last_reg  <= step_last && out_row_reg == SWEEP_LAST;
            step_reg  <= step_last ? {STEP_WIDTH{1'b0}} : step_reg + 1'b1;
            if (step_last)
                out_row_reg <= (out_row_reg == SWEEP_LAST) ? {ROW_WIDTH{1'b0}} : out_row_reg + 1'b1;
        end
        if (rst) begin
            surplus_reg <= -FILL_FIRST;
            room_reg    <= ROOM_START;
            valid_reg   <= 1'b0;
            first_reg   <= 1'b1;
            zeros_reg   <= 1'b0;
            step_reg    <= 0;
            out_row_reg <= 0;
        end
    end

    // The commands to the window register: take the next window, which is a row's first one or
    // slides on by columns of the queue or by zeros.
    wire take, take_first, take_zeros;

    // Where the columns wanted begin in the queue.
    localparam FIRST_AT = UNHURRIED ? QUEUE - FIRST : 0;
    localparam SLIDE_AT = UNHURRIED ? QUEUE - SLIDE : 0;

    generate
        if (LATE != 0) begin : gen_late
            reg take_reg = 1'b0;
            reg first_taken_reg, zeros_taken_reg;
            always @(posedge clk) begin
                take_reg        <= load;
                first_taken_reg <= first_reg;
                zeros_taken_reg <= zeros_reg;
            end
            assign take       = take_reg;
            assign take_first = first_taken_reg;
            assign take_zeros = zeros_taken_reg;
        end else begin : gen_at_once
            assign take       = load;
            assign take_first = first_reg;
            assign take_zeros = zeros_reg;
        end

        if (UNHURRIED) begin : gen_push
            // A window takes all columns: they move up until the last one is in its place.
            wire [QUEUE*COLUMN_BITS+UNIT-1:0] pushed = {unit, queue_reg};
            wire                              unused = &{1'b0, pushed[UNIT-1:0]};
            always @(posedge clk)
                if (arrived_reg)
                    queue_reg <= pushed[QUEUE*COLUMN_BITS+UNIT-1:UNIT];
        end else begin : gen_queue
            // A column goes behind those that stay; what is further behind does not matter.
            reg [FILL_WIDTH-1:0] fill_reg = 0;
            always @(posedge clk) begin
                fill_reg <= (load ? surplus_reg : fill_reg) + {{(FILL_WIDTH-1){1'b0}}, came};
                if (rst)
                    fill_reg <= 0;
            end
            for (group = 0; group < QUEUE; group = group + 1) begin : gen_column
                localparam [FILL_WIDTH-1:0] PLACE = group;
                wire here  = came && (load ? surplus_reg == PLACE : fill_reg == PLACE);
                wire shift = load && !zeros_reg;
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
                if (group + SLIDE < QUEUE) begin : gen_slide
                    assign after_slide = queue_reg[(group + SLIDE)*COLUMN_BITS +: COLUMN_BITS];
                end else begin : gen_slide_none
                    assign after_slide = unit;
                end
                if (group + FIRST < QUEUE) begin : gen_first
                    assign after_first = queue_reg[(group + FIRST)*COLUMN_BITS +: COLUMN_BITS];
                end else begin : gen_first_none
                    assign after_first = after_slide;
                end
                always @(posedge clk)
                    if (change)
                        queue_reg[group*COLUMN_BITS +: COLUMN_BITS] <=
                            put ? unit : take_first ? after_first : after_slide;
            end
        end

        for (group = 0; group < SPAN; group = group + 1) begin : gen_window
            wire [COLUMN_BITS-1:0] started, slid;
            if (group >= LEFT && group - LEFT < FIRST) begin : gen_started
                assign started = queue_reg[(FIRST_AT + group - LEFT)*COLUMN_BITS +: COLUMN_BITS];
            end else begin : gen_started_outside
                assign started = {COLUMN_BITS{1'b0}};
            end
            if (group + SLIDE < SPAN) begin : gen_slid
                assign slid = window_reg[(group + SLIDE)*COLUMN_BITS +: COLUMN_BITS];
            end else begin : gen_slid_in
                assign slid = take_zeros ? {COLUMN_BITS{1'b0}}
                    : queue_reg[(SLIDE_AT + group + SLIDE - SPAN)*COLUMN_BITS +: COLUMN_BITS];
            end
            always @(posedge clk)
                if (take)
                    window_reg[group*COLUMN_BITS +: COLUMN_BITS] <= take_first ? started : slid;
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
