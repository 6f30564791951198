// SPDX-License-Identifier: Apache-2.0
//
// What differs from sweep to sweep of a column_reader, worked out at elaboration. A sweep reads the
// columns of one row of windows.
//
// The entry of the next sweep is looked up while the present one is read, so the outputs are
// registers.

`default_nettype none

module sweep_table #(
    parameter HEIGHT     = 28,  // rows of the image
    parameter OUT_HEIGHT = 26,  // sweeps an image
    parameter KERNEL     = 3,
    parameter STRIDE     = 1,
    parameter PADDING    = 0,   // rows above the image
    parameter DILATION   = 1,
    parameter GROUPS     = 28,  // column groups a row of the image
    parameter COLUMNS    = 28,  // of them those that a sweep reads
    parameter FREE_WIDTH = 5,   // bits of `freed`
    parameter LEAD_WIDTH = 9    // bits of `back`
) (
    input  wire                  clk,
    input  wire                  rst,
    input  wire                  sweep_done,  // go on to the next
    output wire [KERNEL-1:0]     in_image,    // rows of the window that are in the image
    output wire [FREE_WIDTH-1:0] freed,       // rows of the image that nobody needs after the sweep
    output wire [LEAD_WIDTH-1:0] back,        // see below
    output wire                  image_next   // the sweep after the next one begins an image
);

    localparam SPAN        = (KERNEL - 1)*DILATION + 1;  // rows that a window covers
    localparam ENTRY_BITS  = KERNEL + FREE_WIDTH + LEAD_WIDTH;
    localparam ENTRY_SIZE  = 1 << $clog2(ENTRY_BITS + 1);  // a power of two, so no product
    localparam SWEEP_WIDTH = (OUT_HEIGHT > 1) ? $clog2(OUT_HEIGHT) : 1;

    function integer at_least;
        input integer a, b;
        at_least = (a > b) ? a : b;
    endfunction

    // The top row of a sweep's windows. It is negative where they begin in the padding; the banks
    // then hold something older there, which in_image hides.
    function integer top_row;
        input integer sweep;
        top_row = sweep*STRIDE - PADDING;
    endfunction

    // The lowest row of a sweep that is in the image. A column may be read once this row has it.
    function integer newest_row;
        input integer sweep;
        newest_row = ((top_row(sweep) + SPAN < HEIGHT) ? top_row(sweep) + SPAN : HEIGHT) - 1;
    endfunction

    // `back` is how far the group that the next sweep's first column needs is behind the one that
    // this sweep's last column needed, counted in groups of the stream. It is negative.
    // Only as many bits of these integers are used as their values need.
    /* verilator lint_off UNUSEDSIGNAL */
    function [ENTRY_BITS-1:0] entry;
        input integer sweep;
        integer       i, row, oldest_next, newest_next, rows, groups;
        begin
            oldest_next = (sweep == OUT_HEIGHT - 1) ? HEIGHT : at_least(top_row(sweep + 1), 0);
            newest_next = (sweep == OUT_HEIGHT - 1) ? HEIGHT + newest_row(0)
                                                    : newest_row(sweep + 1);
            rows   = oldest_next - at_least(top_row(sweep), 0);
            groups = COLUMNS - 1 - (newest_next - newest_row(sweep))*GROUPS;
            for (i = 0; i < KERNEL; i = i + 1) begin
                row      = top_row(sweep) + i*DILATION;
                entry[i] = row >= 0 && row < HEIGHT;
            end
            entry[KERNEL +: FREE_WIDTH]              = rows[FREE_WIDTH-1:0];
            entry[KERNEL + FREE_WIDTH +: LEAD_WIDTH] = groups[LEAD_WIDTH-1:0];
        end
    endfunction
    /* verilator lint_on UNUSEDSIGNAL */

    wire [OUT_HEIGHT*ENTRY_SIZE-1:0] entries;

    genvar number;
    generate
        for (number = 0; number < OUT_HEIGHT; number = number + 1) begin : gen_entry
            localparam [ENTRY_BITS-1:0] ENTRY = entry(number);
            assign entries[number*ENTRY_SIZE +: ENTRY_SIZE] =
                {{(ENTRY_SIZE-ENTRY_BITS){1'b0}}, ENTRY};
        end
    endgenerate

    localparam [ENTRY_BITS-1:0]  ENTRY_START  = entry(0);
    localparam [SWEEP_WIDTH-1:0] SWEEP_LAST   = OUT_HEIGHT[SWEEP_WIDTH-1:0] - 1'b1;
    localparam [SWEEP_WIDTH-1:0] SWEEP_SECOND = (OUT_HEIGHT > 1) ? 1 : 0;

    reg  [SWEEP_WIDTH-1:0] ahead_reg = SWEEP_SECOND;  // the next sweep
    reg  [ENTRY_BITS-1:0]  entry_reg = ENTRY_START;   // of the present one
    wire [ENTRY_BITS-1:0]  entry_next = entries[ahead_reg*ENTRY_SIZE +: ENTRY_BITS];

    assign {back, freed, in_image} = entry_reg;
    assign image_next = ahead_reg == SWEEP_LAST;

    always @(posedge clk) begin
        if (sweep_done) begin
            ahead_reg <= image_next ? {SWEEP_WIDTH{1'b0}} : ahead_reg + 1'b1;
            entry_reg <= entry_next;
        end
        if (rst) begin
            ahead_reg <= SWEEP_SECOND;
            entry_reg <= ENTRY_START;
        end
    end

endmodule

`default_nettype wire
