// SPDX-License-Identifier: Apache-2.0
//
// Images of IN_BEATS beats go in, images of ROWS * COLS * PARTS beats come out, in order, with tlast on the
// last beat of each; and a whole image never waits inside for more to come.
//
// To see what lands where, one item is dyed: the solver chooses it as its beat goes in, by its number
// there from 1 on. It is a one, and every other item of every image a zero. The harness asserts that
// ones come out where the dyed item belongs, and zeros everywhere else. As modules that only move
// items cannot tell one from another, and any item may be the dyed one, this holds for all of them.

`default_nettype none

module axis_image #(
    parameter IN_BEATS = 1,
    parameter ITEMS    = 1,  // of a beat that goes in
    parameter ROWS     = 1,  // of an image that comes out
    parameter COLS     = 1,  // of a row
    parameter PARTS    = 1,  // beats of a column
    parameter TLAST    = 1,  // 0: the output has none
    parameter IMAGES   = 3,  // more than may be inside
    parameter TAG_WIDTH = 8,
    parameter LIMIT    = 2,  // clocks for which a whole image may wait before its next beat
    parameter MARK_WIDTH = $clog2(ITEMS + 1)
) (
    input  wire                  clk,
    input  wire                  rst,
    input  wire [MARK_WIDTH-1:0] mark,   // the item to dye, 0: none
    input  wire                  s_tvalid,
    input  wire                  s_tready,
    output wire [ITEMS-1:0]      dye,    // those of the beat on the input that are
    output wire [7:0]            s_beat, // which one of its image it is
    input  wire [TAG_WIDTH-1:0]  s_tag,  // whatever the harness wants to know of the dyed beat
    output reg  [TAG_WIDTH-1:0]  tag,    // and so knows
    output reg  [7:0]            item,   // which one the dyed item is there, from 0 on
    input  wire                  m_tvalid,
    input  wire                  m_tready,
    input  wire                  m_tlast,
    output wire [7:0]            m_row,  // which beat of its image is on the output
    output wire [7:0]            m_col,
    output wire [7:0]            m_part,
    output wire                  dyed    // it is of the image that has the dyed item
);

    localparam COUNT_WIDTH = $clog2(IMAGES + 1);

    reg [$clog2(IN_BEATS + 1)-1:0] taken = 0;  // beats of the image that goes in
    reg [$clog2(ROWS + 1)-1:0]     row = 0;    // of the image that comes out
    reg [$clog2(COLS + 1)-1:0]     col = 0;
    reg [$clog2(PARTS + 1)-1:0]    part = 0;
    reg [COUNT_WIDTH-1:0]          whole = 0;  // images that have gone in, but not come out in full
    reg                            open = 1'b0;     // one that goes in has begun, nor come out in full
    reg [COUNT_WIDTH-1:0]          ahead = 0;  // images that come out before the dyed one
    reg                            chosen = 1'b0;   // an item has been
    reg                            present = 1'b0;  // its image has not all come out
    reg [$clog2(LIMIT + 2)-1:0]    waits = 0;

    wire take     = s_tvalid && s_tready;
    wire give     = m_tvalid && m_tready;
    wire first    = taken == 0;
    wire ends     = taken == IN_BEATS - 1;
    wire part_last = part == PARTS - 1;
    wire col_last = part_last && col == COLS - 1;
    wire last     = col_last && row == ROWS - 1;
    wire leaves   = give && last;
    wire due      = whole != 0 && m_tready && !m_tvalid;
    // An image may come out in full before its last beats, of which no output depends, go in.
    wire open_next = (open || (take && first)) && !(leaves && whole == 0);
    wire [COUNT_WIDTH-1:0] whole_left = whole - (leaves && whole != 0);

    genvar i;
    generate
        for (i = 0; i < ITEMS; i = i + 1) begin : gen_dye
            assign dye[i] = !chosen && mark == i + 1;
        end
    endgenerate

    assign s_beat = taken;
    assign dyed  = present && ahead == 0;
    assign m_row = row;
    assign m_col = col;
    assign m_part = part;

    always @(posedge clk) begin
        if (take)
            taken <= ends ? 0 : taken + 1'b1;
        if (give) begin
            part <= part_last ? 0 : part + 1'b1;
            if (part_last)
                col <= col_last ? 0 : col + 1'b1;
            if (col_last)
                row <= last ? 0 : row + 1'b1;
        end
        whole <= whole_left + (take && ends && open_next);
        open  <= open_next && !(take && ends);
        if (present && leaves) begin
            ahead   <= (ahead != 0) ? ahead - 1'b1 : 0;
            present <= ahead != 0;
        end
        // What is known of it no longer matters, and would only tell states apart.
        if (chosen && !present) begin
            tag  <= 0;
            item <= 0;
        end
        if (take && dye != 0) begin
            chosen  <= 1'b1;
            present <= open_next;
            tag     <= s_tag;
            item    <= mark - 1'b1;
            ahead   <= whole_left;
        end
        waits <= due ? waits + 1'b1 : 0;
        if (rst) begin
            taken   <= 0;
            row     <= 0;
            col     <= 0;
            part    <= 0;
            whole   <= 0;
            open    <= 1'b0;
            ahead   <= 0;
            chosen  <= 1'b0;
            present <= 1'b0;
            waits   <= 0;
        end
    end

    always @* begin
        assert (whole != IMAGES);
        if (m_tvalid) begin
            assert (whole != 0 || open);
            assert (TLAST == 0 || m_tlast == last);
        end
        assert (!due || waits < LIMIT);
    end

endmodule

`default_nettype wire
