// SPDX-License-Identifier: Apache-2.0
//
// The folds of a matrix-vector product come in the order that the weights stand in, again and again.

`default_nettype none

module fold_counter_formal #(
    parameter GROUPS      = 1,
    parameter CHUNKS      = 1,
    parameter GROUP_INNER = 0
) (
    input wire clk,
    input wire rst,
    input wire step
);

    localparam FOLDS = GROUPS * CHUNKS;

    wire [((GROUPS > 1) ? $clog2(GROUPS) : 1)-1:0] group;
    wire [((CHUNKS > 1) ? $clog2(CHUNKS) : 1)-1:0] chunk;
    wire                                           group_last, chunk_last, last;

    fold_counter #(
        .GROUPS(GROUPS), .CHUNKS(CHUNKS), .GROUP_INNER(GROUP_INNER)
    ) dut (
        .clk(clk), .rst(rst), .step(step),
        .group(group), .chunk(chunk), .group_last(group_last), .chunk_last(chunk_last),
        .last(last)
    );

    reg [$clog2(FOLDS + 1)-1:0] fold = 0;

    always @(posedge clk)
        if (rst)
            fold <= 0;
        else if (step)
            fold <= (fold == FOLDS - 1) ? 0 : fold + 1'b1;

    always @* begin
        assert (group < GROUPS && chunk < CHUNKS);
        assert (fold == (GROUP_INNER ? chunk*GROUPS + group : group*CHUNKS + chunk));
        assert (group_last == (group == GROUPS - 1));
        assert (chunk_last == (chunk == CHUNKS - 1));
        assert (last == (fold == FOLDS - 1));
    end

endmodule

`default_nettype wire
