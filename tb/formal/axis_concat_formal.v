// SPDX-License-Identifier: Apache-2.0
//
// The inputs have turns of so many beats, and these leave as they came, the image's last one marked.

`default_nettype none

module axis_concat_formal #(
    parameter INPUTS     = 2,
    parameter GROUPS     = 1,
    parameter BEATS      = 65537,  // a group, of each input: 16 bits, the first one's lowest
    parameter FIFO_DEPTH = 1
) (
    input wire              clk,
    input wire              rst,
    input wire              mark,
    input wire [INPUTS-1:0] s_axis_tdata,
    input wire [INPUTS-1:0] s_axis_tvalid,
    input wire              m_axis_tready
);

    wire [INPUTS-1:0] s_axis_tready;
    wire              m_axis_tdata, m_axis_tlast, m_axis_tvalid;
    reg  [2:0]        turn = 0;   // the input whose beat is next
    reg  [2:0]        beat = 0;   // of its beats of the group
    reg  [2:0]        group = 0;

    wire valid      = s_axis_tvalid[turn];
    wire ready      = s_axis_tready[turn];
    wire beat_last  = beat + 1 == ((BEATS >> 16*turn) & 16'hFFFF);
    wire turn_last  = beat_last && turn == INPUTS - 1;
    wire group_last = turn_last && group == GROUPS - 1;

    axis_concat #(
        .INPUTS(INPUTS), .WIDTH(1), .GROUPS(GROUPS), .BEATS(BEATS[16*INPUTS-1:0]),
        .FIFO_DEPTH(FIFO_DEPTH)
    ) dut (
        .clk(clk), .rst(rst),
        .s_axis_tdata(s_axis_tdata), .s_axis_tvalid(s_axis_tvalid), .s_axis_tready(s_axis_tready),
        .m_axis_tdata(m_axis_tdata), .m_axis_tlast(m_axis_tlast), .m_axis_tvalid(m_axis_tvalid),
        .m_axis_tready(m_axis_tready)
    );

    axis_rules #(.WIDTH(2)) rules (
        .clk(clk), .rst(rst), .payload({m_axis_tlast, m_axis_tdata}), .tvalid(m_axis_tvalid),
        .tready(m_axis_tready)
    );
    axis_order #(.WIDTH(2), .CAPACITY(FIFO_DEPTH)) order (
        .clk(clk), .rst(rst), .mark(mark),
        .s_payload({group_last, s_axis_tdata[turn]}), .s_tvalid(valid), .s_tready(ready),
        .m_payload({m_axis_tlast, m_axis_tdata}), .m_tvalid(m_axis_tvalid),
        .m_tready(m_axis_tready)
    );

    always @(posedge clk) begin
        if (valid && ready) begin
            beat <= beat_last ? 0 : beat + 1'b1;
            if (beat_last)
                turn <= turn_last ? 0 : turn + 1'b1;
            if (turn_last)
                group <= group_last ? 0 : group + 1'b1;
        end
        if (rst) begin
            beat  <= 0;
            turn  <= 0;
            group <= 0;
        end
    end

    // Nothing is taken out of turn.
    always @* assert ((s_axis_tready & ~(1 << turn)) == 0);

endmodule

`default_nettype wire
