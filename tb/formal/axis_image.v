// SPDX-License-Identifier: Apache-2.0
//
// Images of IN_BEATS beats go in, images of ROWS * COLS beats come out, in order, with tlast on the
// last beat of each; and a whole image never waits inside for more to come.
//
// To see what lands where, one item is dyed: the solver chooses it as its beat goes in, by its number
// there from 1 on. It is a one, and every other item of every image a zero. The harness asserts that
// ones come out where the dyed item belongs, and zeros everywhere else. As modules that only move
// items cannot tell one from another, and any item may be the dyed one, this holds for all of them.
// When the dyed image has left, there is no more to see: what follows has been seen with another
// choice.

`default_nettype none

module axis_image #(
    parameter IN_BEATS = 1,
    parameter ITEMS    = 1,  // of a beat that goes in
    parameter ROWS     = 1,  // of an image that comes out
    parameter COLS     = 1,  // of a row
    parameter TLAST    = 1,  // 0: the output has none
    parameter IMAGES   = 2,  // images that may be inside, in part or whole
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
    output wire                  dyed    // it is of the image that has the dyed item
);

    localparam INSIDE_WIDTH = $clog2(IMAGES + 2);

    reg [$clog2(IN_BEATS + 1)-1:0] taken = 0;  // beats of the image that goes in
    reg [$clog2(ROWS + 1)-1:0]     row = 0;    // of the image that comes out
    reg [$clog2(COLS + 1)-1:0]     col = 0;
    reg [INSIDE_WIDTH-1:0]         inside = 0;  // images of which some has gone in and some must come
    reg [INSIDE_WIDTH-1:0]         ahead = 0;   // those before the dyed one
    reg                            chosen = 1'b0;   // an item has been
    reg                            present = 1'b0;  // its image has not all come out
    reg                            gone = 1'b0;     // for a clock, it has
    reg [$clog2(LIMIT + 2)-1:0]    waits = 0;

    wire take     = s_tvalid && s_tready;
    wire give     = m_tvalid && m_tready;
    wire first    = taken == 0;
    wire ends     = taken == IN_BEATS - 1;
    wire col_last = col == COLS - 1;
    wire last     = col_last && row == ROWS - 1;
    wire leaves   = give && last;
    wire due      = inside != !first && m_tready && !m_tvalid;

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

    always @(posedge clk) begin
        if (take)
            taken <= ends ? 0 : taken + 1'b1;
        if (give) begin
            col <= col_last ? 0 : col + 1'b1;
            if (col_last)
                row <= last ? 0 : row + 1'b1;
        end
        inside <= inside + (take && first) - leaves;
        if (leaves) begin
            ahead   <= ahead - 1'b1;
            present <= present && ahead != 0;
        end
        if (take && dye != 0) begin
            chosen  <= 1'b1;
            present <= 1'b1;
            tag     <= s_tag;
            item    <= mark - 1'b1;
            ahead   <= inside - !first - leaves;
        end
        gone  <= chosen && !present;
        waits <= due ? waits + 1'b1 : 0;
        if (rst) begin
            taken   <= 0;
            row     <= 0;
            col     <= 0;
            inside  <= 0;
            ahead   <= 0;
            chosen  <= 1'b0;
            present <= 1'b0;
            gone    <= 1'b0;
            waits   <= 0;
        end
    end

    always @* begin
        assume (!gone);
        assert (inside <= IMAGES);
        if (m_tvalid) begin
            assert (inside != 0);
            assert (TLAST == 0 || m_tlast == last);
        end
        assert (!due || waits < LIMIT);
    end

endmodule

`default_nettype wire
