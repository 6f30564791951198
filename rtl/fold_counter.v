// SPDX-License-Identifier: Apache-2.0
//
// Walks the GROUPS x CHUNKS folds of a matrix-vector product: a group is the PE output channels
// computed at once, a chunk the SIMD inputs taken at once.
//
//   GROUP_INNER 0: all chunks of group 0, then of group 1, ...  (needs the whole vector at hand)
//   GROUP_INNER 1: all groups of chunk 0, then of chunk 1, ...  (takes the vector as it comes)
//
// Every output comes straight from a register: handshakes and wide multiplexers hang on them.

`default_nettype none

module fold_counter #(
    parameter GROUPS      = 1,
    parameter CHUNKS      = 1,
    parameter GROUP_INNER = 0,
    parameter GROUP_WIDTH = (GROUPS > 1) ? $clog2(GROUPS) : 1,
    parameter CHUNK_WIDTH = (CHUNKS > 1) ? $clog2(CHUNKS) : 1
) (
    input  wire                   clk,
    input  wire                   rst,
    input  wire                   step,
    output wire [GROUP_WIDTH-1:0] group,
    output wire [CHUNK_WIDTH-1:0] chunk,
    output wire                   group_last,
    output wire                   chunk_last,
    output wire                   last        // of all folds: both
);

    // The numbers before the last ones.
    localparam [GROUP_WIDTH-1:0] GROUP_LAST      = GROUPS[GROUP_WIDTH-1:0] - 1'b1;
    localparam [CHUNK_WIDTH-1:0] CHUNK_LAST      = CHUNKS[CHUNK_WIDTH-1:0] - 1'b1;
    localparam [GROUP_WIDTH-1:0] GROUP_NEXT_LAST = GROUP_LAST - 1'b1;
    localparam [CHUNK_WIDTH-1:0] CHUNK_NEXT_LAST = CHUNK_LAST - 1'b1;

    reg [GROUP_WIDTH-1:0] group_reg      = 0;
    reg [CHUNK_WIDTH-1:0] chunk_reg      = 0;
    reg                   group_last_reg = (GROUPS == 1);
    reg                   chunk_last_reg = (CHUNKS == 1);
    reg                   last_reg       = (GROUPS == 1 && CHUNKS == 1);

    assign group      = group_reg;
    assign chunk      = chunk_reg;
    assign group_last = group_last_reg;
    assign chunk_last = chunk_last_reg;
    assign last       = last_reg;

    wire group_step = step && ((GROUP_INNER != 0) || chunk_last_reg);
    wire chunk_step = step && ((GROUP_INNER == 0) || group_last_reg);

    // With a single one the number stays and its flag is always set.
    wire group_last_next = (GROUPS == 1)
        || (group_step ? group_reg == GROUP_NEXT_LAST : group_last_reg);
    wire chunk_last_next = (CHUNKS == 1)
        || (chunk_step ? chunk_reg == CHUNK_NEXT_LAST : chunk_last_reg);

    always @(posedge clk) begin
        if (group_step)
            group_reg <= group_last_reg ? {GROUP_WIDTH{1'b0}} : group_reg + 1'b1;
        if (chunk_step)
            chunk_reg <= chunk_last_reg ? {CHUNK_WIDTH{1'b0}} : chunk_reg + 1'b1;
        group_last_reg <= group_last_next;
        chunk_last_reg <= chunk_last_next;
        last_reg       <= group_last_next && chunk_last_next;
        if (rst) begin
            group_reg      <= 0;
            chunk_reg      <= 0;
            group_last_reg <= (GROUPS == 1);
            chunk_last_reg <= (CHUNKS == 1);
            last_reg       <= (GROUPS == 1 && CHUNKS == 1);
        end
    end

endmodule

`default_nettype wire
