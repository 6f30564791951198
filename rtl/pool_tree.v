// SPDX-License-Identifier: Apache-2.0
//
// Reduces the taps of a pool's windows to one value a lane, their largest or their sum, in a tree
// with a register behind each level.
//
// Tap t, lane l is at byte t*LANES + l. The tree moves or holds as one: it holds while a result
// waits at its end.
// Latency: max(1, ceil(log2(TAPS))) clocks from a beat to its result, the length of
// `pipeline` of pools in model/hardware/layers/window.py.

`default_nettype none

module pool_tree #(
    parameter TAPS  = 4,
    parameter LANES = 1,
    parameter SUM   = 0,  // 0: the largest tap, 1: the sum of the taps
    parameter WIDTH = (SUM != 0) ? 8 + $clog2(TAPS) : 8  // of a result
) (
    input  wire                    clk,
    input  wire                    rst,
    input  wire [8*TAPS*LANES-1:0] s_taps,
    input  wire                    s_taps_last,
    input  wire                    s_taps_valid,
    output wire                    s_taps_ready,
    output wire [WIDTH*LANES-1:0]  m_result,
    output wire                    m_result_last,
    output wire                    m_result_valid,
    input  wire                    m_result_ready
);

    localparam LEVELS = (TAPS > 1) ? $clog2(TAPS) : 1;

    // Bit i of these belongs to level i of the tree.
    reg  [LEVELS:1] valid_reg = 0;
    reg  [LEVELS:1] last_reg;
    wire [LEVELS:0] valid  = {valid_reg, s_taps_valid};
    wire [LEVELS:0] last   = {last_reg, s_taps_last};
    wire            enable = !valid_reg[LEVELS] || m_result_ready;

    assign s_taps_ready   = enable;
    assign m_result_valid = valid[LEVELS];
    assign m_result_last  = last[LEVELS];

    always @(posedge clk) begin
        if (enable) begin
            valid_reg <= valid[LEVELS-1:0];
            last_reg  <= last[LEVELS-1:0];
        end
        if (rst)
            valid_reg <= 0;
    end

    // Level 0 is the taps. A node takes two of the level before, or passes on the odd one out.
    // Nodes are as wide as the result; the bits that a level cannot reach are constant zeros.
    genvar level, node, lane;
    generate
        for (level = 1; level <= LEVELS; level = level + 1) begin : gen_level
            localparam NODES  = (TAPS + (1 << level) - 1) >> level;
            localparam BEFORE = (TAPS + (1 << (level - 1)) - 1) >> (level - 1);
            wire [WIDTH*NODES*LANES-1:0] nodes;
            for (node = 0; node < NODES; node = node + 1) begin : gen_node
                localparam PAIR  = 2*node + 1 < BEFORE;
                localparam OTHER = PAIR ? 2*node + 1 : 2*node;
                for (lane = 0; lane < LANES; lane = lane + 1) begin : gen_lane
                    localparam ONE = 2*node*LANES + lane;
                    localparam TWO = OTHER*LANES + lane;
                    wire [WIDTH-1:0] one, two;
                    reg  [WIDTH-1:0] node_reg;
                    if (level > 1) begin : gen_nodes
                        assign one = gen_level[level-1].nodes[WIDTH*ONE +: WIDTH];
                        assign two = gen_level[level-1].nodes[WIDTH*TWO +: WIDTH];
                    end else if (WIDTH > 8) begin : gen_wide
                        assign one = {{(WIDTH-8){1'b0}}, s_taps[8*ONE +: 8]};
                        assign two = {{(WIDTH-8){1'b0}}, s_taps[8*TWO +: 8]};
                    end else begin : gen_taps
                        assign one = s_taps[8*ONE +: 8];
                        assign two = s_taps[8*TWO +: 8];
                    end
                    always @(posedge clk)
                        if (enable)
                            node_reg <= !PAIR      ? one :
                                        (SUM != 0) ? one + two : (one > two) ? one : two;
                    assign nodes[WIDTH*(node*LANES + lane) +: WIDTH] = node_reg;
                end
            end
        end
    endgenerate

    assign m_result = gen_level[LEVELS].nodes;

endmodule

`default_nettype wire
